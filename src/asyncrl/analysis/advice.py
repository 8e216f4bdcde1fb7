"""Advice about a run: what is likely wrong with it, and what would make it faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from asyncrl.analysis.history import History, read_history
from asyncrl.analysis.rules import policy, returns, speed, state, updates, value
from asyncrl.check import Check
from asyncrl.run_folder import RunFolder

Rule = Callable[[History], Iterable[Check]]

STATE: Sequence[Rule] = (state.how_it_ended,)
LEARNING: Sequence[Rule] = (
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
SPEED: Sequence[Rule] = (speed.where_time_goes, speed.more_workers_than_cores, speed.slowed_down, speed.restarts)


def advise(run: RunFolder) -> list[Check]:
    """Checks how a run ended, what it learned, and where the time of its workers went.

    Raises:
        UserError: The folder is damaged.
    """
    history = read_history(run)
    if history is None:
        return [Check("run", "note", f"{run.metrics_file} is empty: the run has not trained long enough to be judged")]
    state_checks, learning, speed_checks = (
        [check for rule in rules for check in rule(history)] for rules in (STATE, LEARNING, SPEED)
    )
    if all(check.verdict == "good" for check in learning):
        text = "no sign of trouble in returns, entropy, values and gradients"
        learning.append(Check("learning", "good", text))
    return [*state_checks, *learning, *speed_checks]
