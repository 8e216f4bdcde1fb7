"""What the values say."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from asyncrl.analysis.history import History
from asyncrl.machine import Check

NAME = "value"
LITTLE = 0.05
"""Share of the targets' variance; the values of healthy runs explain 0.1 to 0.99 of it."""
BEYOND = 3.0
"""Times the largest value that the returns allow: means of healthy runs stay below that value itself."""


def explains_nothing(history: History) -> Iterator[Check]:
    """The values are no better than a constant, although targets differ."""
    explained = history.series("value_explained")
    late = explained.part(0.5, 1.0)
    if history.solved or not history.has_learned or len(late) < 3:
        return
    if np.ptp(history.series("return_mean").values) == 0 or np.median(late) >= LITTLE:
        return
    weight = history.number("value_weight", -1)
    more = f"a higher --value-weight than {weight:g}, " if weight >= 0 else ""
    text = (
        f"it explains {max(float(np.median(late)), 0.0):.0%} of the variance of its targets in the second half of the "
        f"run (value_explained): {more}a higher --learning-rate, --reward-scale so that returns are near 1, "
        "--normalize-observations; or what the agent sees does not tell what will follow (--memory lstm)"
    )
    yield Check(NAME, "note", text)


def diverged(history: History) -> Iterator[Check]:
    """The mean value is far beyond what rewards and discount allow."""
    values = np.abs(history.series("value_mean").part(0.5, 1.0))
    if not len(values) or not history.has_learned:
        return
    bound = _largest_value(history)
    mean = float(np.median(values))
    if bound is None or mean <= BEYOND * bound:
        return
    target = "--target-interval so that the target network changes less often, " * bool(
        history.setting("target_interval")
    )
    text = (
        f"its mean is {mean:.3g} in size, where returns and a discount of {history.number('discount', 1.0):g} allow "
        f"about {bound:.3g}: the values diverge. A lower --learning-rate, {target}--reward-clip or a smaller "
        "--reward-scale"
    )
    yield Check(NAME, "note", text)


def _largest_value(history: History) -> float | None:
    """About the largest mean value that the rewards seen can give; None if no reward was seen.

    A value is at most the scaled return of a whole episode, or where time limits cut episodes short and values go on
    beyond them, the mean reward of a step times the discount's horizon.
    """
    returns = np.abs(history.series("return_mean").values)
    lengths = history.series("length_mean").values
    if not len(returns) or not len(lengths) or not returns.max() > 0:
        return None
    discount = history.number("discount", 1.0)
    horizon = 1 / (1 - discount) if discount < 1 else 0.0
    episodes = max(1.0, horizon / max(1.0, float(np.median(lengths))))
    bound = float(returns.max()) * episodes
    if horizon:
        bound = min(bound, history.number("reward_clip", math.inf) * horizon)
    return bound * history.number("reward_scale", 1.0)
