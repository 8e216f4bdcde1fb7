"""Rules about gradients and updates."""

from __future__ import annotations

from collections.abc import Iterator

from asyncrl import metrics
from asyncrl.analysis.history import History
from asyncrl.analysis.rules.changes import (
    clipped_rewards,
    larger_rewards,
    lower_learning_rate,
    normalized_observations,
    smaller_rewards,
)
from asyncrl.check import Advice, Check

NAME = "gradient"
GROWTH = 100.0
"""Gradients have exploded if their norm is this many times that of the run's first tenth. When an agent begins to find
rewards, the norm grows by a factor of up to 80."""
ABOVE_CLIP = 10.0
"""Gradients count as exploded only above this many times the clipping norm; below that they do no harm."""
FAR_ABOVE_CLIP = 150.0
"""Clipping decides the size of all updates above this many times the clipping norm; in healthy runs the median is at
most about 100."""
LARGE_SHARE = 0.1
"""Share of updates whose loss is worth a note, where some are dropped on purpose or with a failing shard."""
NOTHING = 1e-5
"""Gradients have vanished below this norm; in healthy runs it is 0.01 or more."""


def gradients_exploded(history: History) -> Iterator[Check]:
    """The gradient norm grew by orders of magnitude and is far above the clipping norm."""
    if history.solved or not history.has_learned or not _exploded(history):
        return
    norms = history.series(metrics.GRADIENT_NORM)
    first, last = norms.median(0.0, 0.1), norms.median(0.9, 1.0)
    text = f"its norm grew from {first:.3g} in the first tenth of the run to {last:.3g} in the last"
    advice = (lower_learning_rate(history), *clipped_rewards(history), *smaller_rewards(history))
    yield Check(NAME, "note", text, advice)


def clip_decides(history: History) -> Iterator[Check]:
    """Every gradient is far above the clipping norm, so that all updates have the same size."""
    norms, clip = history.series(metrics.GRADIENT_NORM), history.number("max_gradient_norm", 1.0)
    median = norms.median(0.0, 1.0)
    if history.solved or not history.has_learned or _exploded(history) or not median > FAR_ABOVE_CLIP * clip:
        return
    text = (
        f"its norm is {median:.3g}, {median / clip:,.0f} times --max-gradient-norm {clip:g}: every update is scaled "
        "down to the same size"
    )
    higher_clip = Advice("max_gradient_norm", "higher", f"a higher --max-gradient-norm than {clip:g}")
    yield Check(NAME, "note", text, (*smaller_rewards(history), higher_clip))


def gradients_vanished(history: History) -> Iterator[Check]:
    """The gradients are practically zero."""
    last = history.series(metrics.GRADIENT_NORM).median(0.67, 1.0)
    if history.solved or not history.has_learned or not last < NOTHING:
        return
    text = (
        f"its norm is {last:.1g} in the last third of the run: nothing is learned any more. The agent finds no reward, "
        "its rewards are scaled down too far, or all units of the network are dead"
    )
    tanh = Advice("activation", "other", "--activation tanh, whose units cannot die")
    yield Check(NAME, "note", text, (*larger_rewards(history), lower_learning_rate(history), tanh))


def dropped(history: History) -> Iterator[Check]:
    """Updates were dropped because they were not finite."""
    count, updates = history.count(metrics.DROPPED_UPDATES), history.count(metrics.UPDATES)
    if not count:
        return
    if history.setting("outlier_deviations") is not None or history.setting("runtime") == "ray":
        if count > LARGE_SHARE * (updates + count):
            text = f"{count:,} of {updates + count:,} updates were dropped as outliers, as too stale, or with a shard"
            yield Check("updates", "note", text)
        return
    text = (
        f"{count:,} of {updates + count:,} updates were not finite and were dropped. Check that the environment gives "
        "no huge numbers"
    )
    advice = (lower_learning_rate(history), *clipped_rewards(history), *normalized_observations(history))
    yield Check("updates", "note", text, advice)


def _exploded(history: History) -> bool:
    norms, clip = history.series(metrics.GRADIENT_NORM), history.number("max_gradient_norm", 1.0)
    return norms.median(0.9, 1.0) > max(GROWTH * norms.median(0.0, 0.1), ABOVE_CLIP * clip)
