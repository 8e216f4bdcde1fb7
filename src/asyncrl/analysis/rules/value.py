"""Rules about the value function."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from asyncrl import metrics
from asyncrl.analysis.history import History
from asyncrl.analysis.rules.changes import (
    clipped_rewards,
    higher_learning_rate,
    lower_learning_rate,
    normalized_observations,
    smaller_rewards,
    unit_returns,
)
from asyncrl.check import Advice, Check

NAME = "value"
LITTLE = 0.05
"""Values explain nothing below this share of the targets' variance; in healthy runs they explain 0.1 to 0.99."""
BEYOND = 3.0
"""Values have diverged if their mean is this many times the largest value that the returns allow. In healthy runs the
mean is below that value."""


def explains_nothing(history: History) -> Iterator[Check]:
    """The values are no better than a constant, although the targets differ."""
    late = history.series(metrics.VALUE_EXPLAINED).part(0.5, 1.0)
    if history.solved or not history.has_learned or len(late) < 3:
        return
    returns = history.series(metrics.RETURN_MEAN).values
    if not len(returns) or np.ptp(returns) == 0 or np.median(late) >= LITTLE:
        return
    text = (
        f"it explains {max(float(np.median(late)), 0.0):.0%} of the variance of its targets in the second half of the "
        f"run ({metrics.VALUE_EXPLAINED})"
    )
    advice = [higher_learning_rate(history), *unit_returns(history)]
    weight = history.number("value_weight", -1)
    if weight >= 0:
        advice.insert(0, Advice("value_weight", "higher", f"a higher --value-weight than {weight:g}"))
    advice += normalized_observations(history)
    if history.setting("memory") == "none":
        memory = "--memory lstm, if single observations do not tell enough to predict returns"
        advice.append(Advice("memory", "other", memory))
    yield Check(NAME, "note", text, tuple(advice))


def diverged(history: History) -> Iterator[Check]:
    """The mean value is far beyond what rewards and discount allow."""
    values = np.abs(history.series(metrics.VALUE_MEAN).part(0.5, 1.0))
    if not len(values) or not history.has_learned:
        return
    bound = _largest_value(history)
    mean = float(np.median(values))
    if bound is None or mean <= BEYOND * bound:
        return
    text = (
        f"its mean is {mean:.3g} in size, but returns and a discount of {history.number('discount', 1.0):g} allow only "
        f"about {bound:.3g}: the values diverge"
    )
    advice = [lower_learning_rate(history), *clipped_rewards(history), *smaller_rewards(history)]
    if history.setting("target_interval"):
        advice.insert(1, Advice("target_interval", "higher", "a longer --target-interval"))
    if history.setting("algorithm") == "pqn" and not history.setting("layer_norm"):
        advice.insert(0, Advice("layer_norm", "other", "--layer-norm, without which PQN has nothing to keep it stable"))
    yield Check(NAME, "note", text, tuple(advice))


def _largest_value(history: History) -> float | None:
    """Estimates the largest mean value that the rewards so far allow; None if there were none.

    It is None for normalised rewards and with exploration bonuses too: the metrics do not say what was learned from.

    A value is at most the scaled return of a whole episode. If time limits cut episodes short, values go on beyond the
    limit, and the bound is the mean reward of a step times the discount's horizon.
    """
    if history.setting("normalize_rewards") or history.setting("exploration_bonus") == "hash":
        return None
    returns = np.abs(history.series(metrics.RETURN_MEAN).values)
    lengths = history.series(metrics.LENGTH_MEAN).values
    if not len(returns) or not len(lengths) or not returns.max() > 0:
        return None
    discount = history.number("discount", 1.0)
    horizon = 1 / (1 - discount) if discount < 1 else 0.0
    episodes = max(1.0, horizon / max(1.0, float(np.median(lengths))))
    bound = float(returns.max()) * episodes
    if horizon:
        bound = min(bound, history.number("reward_clip", math.inf) * horizon)
    return bound * history.number("reward_scale", 1.0)
