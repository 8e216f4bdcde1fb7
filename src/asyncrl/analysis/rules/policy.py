"""What the policy's entropy says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asyncrl.analysis.history import History
from asyncrl.analysis.rules import returns
from asyncrl.machine import Check

NAME = "entropy"
COLLAPSED = 0.05
"""Part of the first entropy: two actions at this one are chosen 99.5 to 0.5."""
COLLAPSED_BELOW = -2.0
"""Times the first entropy, where actions are continuous: each σ has then shrunk to a fortieth."""
BEGINNING = 0.1
"""Part of the run: whoever stops exploring in it has seen little."""
RANDOM = 0.99
"""Part of the first entropy from which on a policy is as good as random; learning moves it by a tenth at least."""
HALF = 0.5


def entropy_collapsed(history: History) -> Iterator[Check]:
    """The policy became deterministic at the run's beginning, and the return did not rise afterwards."""
    entropy = history.series("entropy")
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
        f"stopped exploring before it was good. A lower --learning-rate, or a higher --entropy-weight than "
        f"{history.number('entropy_weight', 0):g}"
    )
    yield Check(NAME, "note", text)


def entropy_never_moved(history: History) -> Iterator[Check]:
    """The policy is still as random as it was, and the return has not risen."""
    entropy, share = history.series("entropy"), history.share
    if history.solved or share < returns.TIME_TO_LEARN or not history.has_learned or not (entropy.values[:1] > 0).any():
        return
    first, now = float(entropy.values[0]), entropy.median(HALF, 1.0)
    if abs(now - first) > (1 - RANDOM) * first or _rose_after(history, 0.0):
        return
    text = (
        f"{now:.3g} after {min(share, 1):.0%} of the run, {first:.3g} at its start: the policy is still random. A "
        f"higher --learning-rate, a lower --entropy-weight than {history.number('entropy_weight', 0):g}, or a larger "
        "--reward-scale, if rewards were found at all"
    )
    yield Check(NAME, "note", text)


def _rose_after(history: History, step: float) -> bool:
    """Whether the mean return was clearly higher after a step than at it."""
    found = history.returns
    if len(found.values) < 2:
        return False
    before = found.values[found.steps <= step]
    start = float(before[-1] if len(before) else found.values[0])
    after = found.values[found.steps > step]
    least = max(returns.MOVED * found.noise, returns.SLIGHT * abs(start))
    return bool(len(after)) and float(np.max(after)) - start > least
