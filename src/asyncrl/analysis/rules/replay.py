"""Rules about replay memories and target networks."""

from __future__ import annotations

from collections.abc import Iterator

from asyncrl import metrics
from asyncrl.analysis.history import HALF, History
from asyncrl.analysis.rules.changes import clipped_rewards
from asyncrl.analysis.rules.returns import NAME as RETURN
from asyncrl.check import Advice, Check

FEW_MINIBATCHES = 10.0
"""Priorities have collapsed if fewer steps than fill so many minibatches are replayed, as it were, ..."""
UNEVEN = 100.0
"""... and those are drawn so many times more often than with equal chances. In healthy runs it is 1 to 5 with
proportional priorities, and up to 70 with ranks, an exponent of 0.7 and a million steps."""


def never_began(history: History) -> Iterator[Check]:
    """The replay memory does not hold enough steps yet, so nothing has been learned."""
    start = history.number("replay_start", 0)
    if history.count(metrics.UPDATES) or history.steps >= start:
        return
    if history.summary is None:
        yield Check(RETURN, "note", f"learning has not begun: it begins at step {start:,.0f} (--replay-start)")
        return
    text = (
        f"nothing was learned: the run ended at step {history.steps:,}, and learning begins at step {start:,.0f} "
        "(--replay-start)"
    )
    steps = Advice("steps", "higher", f"many more --steps than --replay-start {start:.0f}")
    yield Check(RETURN, "note", text, (steps, Advice("replay_start", "lower", "a lower --replay-start")))


def priorities_collapsed(history: History) -> Iterator[Check]:
    """A few steps have nearly all of the priority, so the agent learns from these few alone."""
    unevenness = history.series(metrics.PRIORITY_UNEVENNESS).median(HALF, 1.0)
    if history.solved or not history.has_learned or not unevenness > UNEVEN:
        return
    kept = min(history.number("replay_capacity", history.steps), history.steps) / history.number("workers", 1)
    if history.setting("memory") not in (None, "none"):
        kept /= history.number("rollout_length", 1)  # sequences begin where rollouts do
    drawn = kept / unevenness
    if drawn > FEW_MINIBATCHES * history.number("batch_size", 1):
        return
    what = "steps" if history.setting("memory") in (None, "none") else "sequences"
    text = (
        f"have collapsed: a worker learns from its {kept:,.0f} {what} as if there were only {max(drawn, 1):,.0f} "
        f"({metrics.PRIORITY_UNEVENNESS} {unevenness:,.0f}). A few have errors far larger than all others"
    )
    exponent = history.number("priority_exponent", 0)
    advice = [*clipped_rewards(history)]
    if history.setting("prioritized") != "rank":
        advice.append(Advice("prioritized", "other", "--prioritized rank, which goes by the order of errors alone"))
    advice.append(Advice("priority_exponent", "lower", f"a lower --priority-exponent than {exponent:g}"))
    yield Check("priorities", "note", text, tuple(advice))


def target_never_refreshed(history: History) -> Iterator[Check]:
    """The run ends before the target network is refreshed for the first time."""
    interval = history.number("target_interval", 0)
    length = history.steps if history.summary is not None else history.planned_steps
    if history.solved or not history.has_learned or length >= interval:
        return
    text = (
        f"is never refreshed: --target-interval {interval:,.0f} is more than the {length:,} steps of the run, so all "
        "values are learned from those of the untrained network"
    )
    shorter = Advice("target_interval", "lower", f"a --target-interval of at most {max(length // 20, 1)}")
    yield Check("target network", "note", text, (shorter,))
