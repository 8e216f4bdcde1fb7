"""Rules about the learning curve."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asyncrl import metrics
from asyncrl.analysis.history import History, Returns
from asyncrl.analysis.rules.changes import (
    BEST_CHECKPOINT,
    falling_learning_rate,
    longer_training,
    lower_learning_rate,
    more_exploration,
    other_learning_rate,
    preset_of_environment,
    unit_returns,
)
from asyncrl.check import Advice, Check

NAME = "return"
FEWEST = 8
"""A curve is judged only once it has at least this many independent mean returns, each of 100 episodes."""
MOVED = 5.0
"""A change is certain if it is larger than this many standard deviations. The largest of 40 values that only scatter
lies 2 to 3 from their mean, and the standard deviation is itself an estimate."""
TREND = 0.6
"""A rank correlation above this is a trend; eight values without a trend exceed it in one case of eight at most."""
TIME_TO_LEARN = 0.2
"""A run in training is not judged before this share of its steps; on Pong nothing happens in the first tenth."""
SLIGHT = 0.03
"""A change below this share of the mean return, or of its distance from the goal, does not count, however certain it
is."""
FALL = 0.5
"""A curve has collapsed if it lost this share of what it had gained; healthy ones lose up to a third for a while."""
GROWTH = 0.08
"""A curve still rises if it gains this share of its range from the third quarter to the last; a straight line gains a
third."""
EARLY = 0.5
"""A curve is on a plateau if it has not risen since before this share of the run."""


def never_moved(history: History) -> Iterator[Check]:
    """Episodes differ, but the mean return has not changed since the start.

    A run that is still training is judged only after `TIME_TO_LEARN`.
    """
    returns = history.returns
    values = returns.values
    if history.solved or len(values) < FEWEST or np.ptp(values) == 0:
        return
    if history.summary is None and history.share < TIME_TO_LEARN:
        return
    first = float(returns.quarter(0)[:2].mean())
    least = np.maximum(MOVED * returns.uncertainty, _slight(history, first))
    if (np.abs(values - first) > least).any() or abs(returns.trend) > TREND:
        return
    text = f"the mean return has not changed: {first:.4g} at the start, {values[-1]:.4g} after {history.steps:,} steps"
    advice = [other_learning_rate(history), *more_exploration(history), *unit_returns(history)]
    clip = history.number("reward_clip", 0.0)
    if clip:
        without = f"no --reward-clip: {clip:g} may hide differences between rewards"
        advice.append(Advice("reward_clip", "higher", without))
    yield Check(NAME, "note", text, (*advice, longer_training(history)))


def collapsed(history: History) -> Iterator[Check]:
    """The mean return is far below its earlier peak."""
    returns = history.returns
    values = returns.values
    if len(values) < FEWEST:
        return
    peak = int(values.argmax())
    last, first = float(values[-2:].max()), float(values[0])
    gained, lost = values[peak] - first, values[peak] - last
    certain = MOVED * returns.uncertainty[peak]
    if lost <= max(certain, FALL * gained, _slight(history, float(values[peak]))):
        return
    text = f"the mean return fell from {values[peak]:.4g} at step {returns.steps[peak]:,.0f} to {values[-1]:.4g}"
    if gained > certain:
        advice = (BEST_CHECKPOINT, lower_learning_rate(history), *falling_learning_rate(history))
    else:
        text += ": learning made the agent worse"
        advice = (lower_learning_rate(history), *more_exploration(history))
    yield Check(NAME, "note", text, advice)


def still_improving(history: History) -> Iterator[Check]:
    """The curve was still rising when the run used up its steps or its time."""
    returns, summary = history.returns, history.summary or {}
    if len(returns.values) < 2 * FEWEST or summary.get("ended_by") not in ("steps", "time") or history.solved:
        return
    rise, certain = _last_rise(returns)
    if rise <= certain:
        return
    level = returns.quarter(3).mean()
    text = (
        f"the mean return was still rising at the end, from {level - rise:.4g} in the third quarter of the run to "
        f"{level:.4g} in the last"
    )
    yield Check(NAME, "note", text, (longer_training(history),))


def plateau(history: History) -> Iterator[Check]:
    """The curve has not changed for a long time: the task is solved, or the agent is stuck."""
    returns = history.returns
    if len(returns.values) < 2 * FEWEST:
        return
    level, first = float(returns.quarter(3).mean()), float(returns.values[0])
    rise, certain = _last_rise(returns)
    reached = level - max(3 * returns.noise, 0.05 * (returns.values.max() - first))
    if abs(rise) > certain or first >= reached:
        return  # the curve still changes, or it never rose
    since = float(returns.steps[int((returns.values >= reached).argmax())])
    if since > EARLY * history.steps:
        return
    text = f"has stayed near {level:.4g} since step {since:,.0f} ({since / history.steps:.0%} of the run)"
    if history.solved:
        yield Check(NAME, "good", f"{text}: solved; --until-return would end such a run early")
    elif history.goal is not None:
        text += f", below {history.goal:g}, which counts as solved here"
        yield Check(
            NAME,
            "note",
            text,
            (*more_exploration(history), other_learning_rate(history), *preset_of_environment(history)),
        )
    else:
        yield Check(NAME, "good", f"{text}: if the task allows no more, fewer --steps are enough")


def short_of_goal(history: History) -> Iterator[Check]:
    """The run is done and has not reached what counts as solved."""
    values, goal = history.series(metrics.RETURN_MEAN).values, history.goal
    if goal is None or history.solved or not len(values) or (history.summary or {}).get("status") != "done":
        return
    text = f"the mean return was {values[-1]:.4g} at the end; {goal:g} counts as solved here"
    yield Check(
        NAME, "note", text, (longer_training(history), other_learning_rate(history), *preset_of_environment(history))
    )


def _last_rise(returns: Returns) -> tuple[float, float]:
    """The gain from the third quarter of the curve to the last, and the gain from which on it is certain."""
    third, fourth = returns.quarter(2), returns.quarter(3)
    rise, gained = float(fourth.mean() - third.mean()), float(np.ptp(returns.values))
    scatter = 3 * returns.noise * float(np.sqrt(1 / len(third) + 1 / len(fourth)))
    return rise, max(scatter, GROWTH * gained, SLIGHT * abs(float(returns.values[0])))


def _slight(history: History, level: float) -> float:
    """The smallest change from a level of the mean return that counts, however certain it is."""
    distance = 0.0 if history.goal is None else abs(history.goal - level)
    return SLIGHT * max(abs(level), distance)
