"""Rules about runs in which there was nothing to learn from. If one of them applies, no other rule on learning does."""

from __future__ import annotations

import math
from collections.abc import Iterator

import gymnasium
import numpy as np

from asyncrl import metrics
from asyncrl.analysis.history import History
from asyncrl.analysis.rules.changes import CHECK_REWARDS, GUIDING_REWARDS, longer_training, more_exploration
from asyncrl.analysis.rules.returns import NAME, TIME_TO_LEARN
from asyncrl.check import Advice, Check

HARDLY_ANY = 0.05
"""Mean returns count as next to nothing up to this share of the way from no success at all to the goal."""


def no_episode(history: History) -> Iterator[Check]:
    """No episode has ended, so there is no return."""
    if int(history.last[metrics.EPISODES]) or len(history.series(metrics.RETURN_MEAN).values):
        return
    each = history.steps / max(history.number("workers", 1) * history.number("envs_per_worker", 1), 1)
    text = f"no episode has ended in {history.steps:,} steps ({each:,.0f} in each environment): there is no return yet"
    spec = gymnasium.registry.get(history.environment)
    if spec is not None and spec.max_episode_steps is not None:
        yield Check(NAME, "note", f"{text}. Its time limit is {spec.max_episode_steps:,}", (longer_training(history),))
        return
    limit = "a time limit, after which episodes end in any case, such as --env-option max_episode_steps=1000"
    yield Check(NAME, "note", text, (Advice("environment", "other", limit), longer_training(history)))


def no_reward(history: History) -> Iterator[Check]:
    """The agent has found no reward, or so little that it can hardly learn from it."""
    text = _all_equal(history) or _hardly_any(history)
    if text and not history.solved:
        environment = CHECK_REWARDS if history.unrewarded is None else GUIDING_REWARDS
        advice = (environment, *more_exploration(history), longer_training(history))
        yield Check(NAME, "note", text, advice)


def _all_equal(history: History) -> str:
    values, episodes = history.series(metrics.RETURN_MEAN).values, int(history.last[metrics.EPISODES])
    deviations = history.series(metrics.RETURN_STD).values
    if episodes < metrics.WINDOW or len(values) + len(deviations) < 2:  # a single mean tells nothing
        return ""
    tiny = 1e-9 * abs(values[0])
    if np.ptp(values) > tiny or (deviations > tiny).any():
        return ""
    return (
        f"all {episodes:,} episodes had a return of {values[0]:g}: the agent found no reward that tells good actions "
        "from bad ones"
    )


def _hardly_any(history: History) -> str:
    best, nothing, goal = history.best_return_mean, history.unrewarded, history.goal
    if not math.isfinite(best) or nothing is None or goal is None or goal <= nothing:
        return ""
    is_early = history.summary is None and history.share < TIME_TO_LEARN
    if is_early or best > nothing + HARDLY_ANY * (goal - nothing):
        return ""
    return (
        f"the agent found next to no reward: its best mean return is {best:.4g}, and an episode without any "
        f"success returns up to {nothing:g}. {goal:g} counts as solved"
    )
