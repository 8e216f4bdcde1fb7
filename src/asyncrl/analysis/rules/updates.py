"""What the gradients say."""

from __future__ import annotations

from collections.abc import Iterator

from asyncrl.analysis.history import History
from asyncrl.machine import Check

NAME = "gradient"
GROWTH = 100.0
"""Times the norm of the run's first tenth. Where the agent begins to find rewards, norms grow by up to 80."""
ABOVE_CLIP = 10.0
"""Times the clip: a norm that grew but is not far above it does no harm."""
FAR_ABOVE_CLIP = 150.0
"""Times the clip; in healthy runs the median is at most about 100."""
NOTHING = 1e-5
"""Norms in healthy runs are 0.01 and more."""


def gradients_exploded(history: History) -> Iterator[Check]:
    """The norm grew by orders of magnitude and is far above the clip."""
    if history.solved or not history.has_learned or not _exploded(history):
        return
    norms = history.series("gradient_norm")
    first, last = norms.median(0.0, 0.1), norms.median(0.9, 1.0)
    text = (
        f"its norm grew from {first:.3g} in the first tenth of the run to {last:.3g} in the last: a lower "
        "--learning-rate, --reward-clip or a smaller --reward-scale"
    )
    yield Check(NAME, "note", text)


def clip_decides(history: History) -> Iterator[Check]:
    """Every gradient is far above the clip: its size says nothing any more."""
    norms, clip = history.series("gradient_norm"), history.number("max_gradient_norm", 1.0)
    median = norms.median(0.0, 1.0)
    if history.solved or not history.has_learned or _exploded(history) or not median > FAR_ABOVE_CLIP * clip:
        return
    text = (
        f"its norm is {median:.3g}, {median / clip:,.0f} times --max-gradient-norm {clip:g}: every update is scaled "
        "down to the same size. A smaller --reward-scale (values near 1 learn fastest), or a higher --max-gradient-norm"
    )
    yield Check(NAME, "note", text)


def gradients_vanished(history: History) -> Iterator[Check]:
    """Nothing is learned from any more."""
    last = history.series("gradient_norm").median(0.67, 1.0)
    if history.solved or not history.has_learned or not last < NOTHING:
        return
    text = (
        f"its norm is {last:.1g} in the last third of the run: nothing is learned any more. No reward is found, "
        "--reward-scale is tiny, or all units are dead (a lower --learning-rate, --activation tanh)"
    )
    yield Check(NAME, "note", text)


def dropped(history: History) -> Iterator[Check]:
    """Updates were dropped because they were not finite."""
    count, updates = history.count("dropped_updates"), history.count("updates")
    if not count:
        return
    text = (
        f"{count:,} of {updates + count:,} updates were not finite and were dropped: a lower --learning-rate, "
        "--reward-clip, --normalize-observations; see that the environment gives no huge numbers"
    )
    yield Check("updates", "note", text)


def _exploded(history: History) -> bool:
    norms, clip = history.series("gradient_norm"), history.number("max_gradient_norm", 1.0)
    return norms.median(0.9, 1.0) > max(GROWTH * norms.median(0.0, 0.1), ABOVE_CLIP * clip)
