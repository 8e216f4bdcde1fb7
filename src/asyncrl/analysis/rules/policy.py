"""Rules about the policy's entropy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asyncrl import metrics
from asyncrl.analysis.history import HALF, History
from asyncrl.analysis.rules.changes import (
    higher_entropy_weight,
    higher_learning_rate,
    larger_rewards,
    lower_entropy_weight,
    lower_learning_rate,
)
from asyncrl.analysis.rules.returns import MOVED, SLIGHT, TIME_TO_LEARN
from asyncrl.check import Check

NAME = "entropy"
COLLAPSED = 0.05
"""Discrete actions: entropy below this share of its first value has collapsed. Of two actions, one is then chosen with
99.5 % probability."""
COLLAPSED_BELOW = -2.0
"""Continuous actions: entropy below this many times its first value has collapsed. Each σ is then a fortieth of what it
was."""
BEGINNING = 0.1
"""A collapse counts only in this first part of the run, when the agent has not explored much yet."""


def entropy_collapsed(history: History) -> Iterator[Check]:
    """Early in the run the policy became deterministic, and the return did not rise afterwards."""
    entropy = history.series(metrics.ENTROPY)
    if history.solved or len(entropy.values) < 3:
        return
    first = float(entropy.values[0])
    limit = COLLAPSED_BELOW * abs(first) if history.continuous else COLLAPSED * first
    low = entropy.values <= limit
    if not low.any() or entropy.median(HALF, 1.0) > limit:
        return
    at = float(entropy.steps[int(low.argmax())])
    planned = max(history.planned_steps, history.steps)
    if at > BEGINNING * planned or _rose_after(history, at):
        return
    now = entropy.median(HALF, 1.0)
    fell = f"from {first:.3g} to {now:.3g}" if history.continuous else f"to {now / first:.1%} of its first value"
    text = (
        f"fell {fell} within the first {max(at / planned, 0.001):.1%} of the run, by step {at:,.0f}: the policy "
        "stopped exploring before it was good"
    )
    yield Check(NAME, "note", text, (lower_learning_rate(history), higher_entropy_weight(history)))


def entropy_never_moved(history: History) -> Iterator[Check]:
    """The policy is as random as at the start, and the return has not risen."""
    entropy, share = history.series(metrics.ENTROPY), history.share
    if history.solved or share < TIME_TO_LEARN or not history.has_learned or not history.is_random:
        return
    if _rose_after(history, 0.0):
        return
    text = (
        f"was {entropy.values[0]:.3g} at the start and is {entropy.median(HALF, 1.0):.3g} after {min(share, 1):.0%} of "
        "the run: the policy is still random"
    )
    advice = (higher_learning_rate(history), *lower_entropy_weight(history), *larger_rewards(history))
    yield Check(NAME, "note", text, advice)


def _rose_after(history: History, step: float) -> bool:
    """Whether the mean return was clearly higher after a step than at it."""
    found = history.returns
    if len(found.values) < 2:
        return False
    before = found.values[found.steps <= step]
    start = float(before[-1] if len(before) else found.values[0])
    after = found.values[found.steps > step]
    least = max(MOVED * found.noise, SLIGHT * abs(start))
    return bool(len(after)) and float(np.max(after)) - start > least
