"""Rules of diagnosis: each looks at a run's history for one thing that may be wrong.

A rule yields remarks, or nothing if it has nothing to say. What it says of learning is likely, not certain: a `note`.
`bad` is kept for facts: a run that failed.
"""

from collections.abc import Callable, Iterable

from asyncrl.analysis.history import History
from asyncrl.analysis.rules import policy, returns, speed, state, updates, value
from asyncrl.machine import Check

Rule = Callable[[History], Iterable[Check]]

STATE: tuple[Rule, ...] = (state.how_it_ended,)
LEARNING: tuple[Rule, ...] = (
    returns.no_difference,
    returns.never_moved,
    returns.collapsed,
    returns.still_improving,
    returns.plateau,
    policy.entropy_collapsed,
    policy.entropy_never_moved,
    value.explains_nothing,
    value.diverged,
    updates.gradients_exploded,
    updates.clip_decides,
    updates.gradients_vanished,
    updates.dropped,
)
SPEED: tuple[Rule, ...] = (speed.where_time_goes, speed.more_workers_than_cores, speed.slowed_down, speed.restarts)
