"""Rules about the learning curve."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from asyncrl import metrics
from asyncrl.analysis.history import History, Returns
from asyncrl.check import Check

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
"""A change below this share of the first mean return does not count as learning, however certain it is."""
FALL = 0.5
"""A curve has collapsed if it lost this share of what it had gained; healthy ones lose up to a third for a while."""
GROWTH = 0.08
"""A curve still rises if it gains this share of its range from the third quarter to the last; a straight line gains a
third."""
EARLY = 0.5
"""A curve is on a plateau if it has not risen since before this share of the run."""


def no_difference(history: History) -> Iterator[Check]:
    """Every episode gave the same return, so nothing tells good actions from bad ones."""
    values, episodes = history.series(metrics.RETURN_MEAN).values, int(history.last[metrics.EPISODES])
    if history.solved or not len(values) or episodes < 100 or np.ptp(values) > 1e-9 * abs(values[0]):
        return
    text = (
        f"all {episodes:,} episodes had a return of {values[0]:g}: the agent found no reward that tells good actions "
        "from bad ones. Check with 'asyncrl watch' that the environment gives rewards, shape its reward or make it "
        f"easier at first, and explore more ({_exploration(history)})"
    )
    yield Check(NAME, "note", text)


def never_moved(history: History) -> Iterator[Check]:
    """Episodes differ, but the mean return has not changed since the start.

    A run that is still training is judged only after `TIME_TO_LEARN`.
    """
    values = history.returns.values
    if history.solved or len(values) < FEWEST or np.ptp(values) == 0:
        return
    if history.summary is None and history.share < TIME_TO_LEARN:
        return
    first = float(history.returns.quarter(0)[:2].mean())
    least = max(MOVED * history.returns.noise, SLIGHT * abs(first))
    if np.abs(values - first).max() > least or abs(history.returns.trend) > TREND:
        return
    clip = history.number("reward_clip", 0.0)
    clipped = f". --reward-clip {clip:g} may hide differences between rewards" if clip else ""
    text = (
        f"the mean return has not changed ({first:.4g} at the start, {values[-1]:.4g} after {history.steps:,} steps). "
        f"Some tasks need more steps. Otherwise try another --learning-rate, {_exploration(history)}, a denser reward, "
        f"or a --reward-scale that brings returns near 1{clipped}"
    )
    yield Check(NAME, "note", text)


def collapsed(history: History) -> Iterator[Check]:
    """The mean return is far below its earlier peak."""
    returns = history.returns
    values = returns.values
    if len(values) < FEWEST:
        return
    peak = int(values.argmax())
    last, first = float(values[-2:].max()), float(values[0])
    gained, lost = values[peak] - first, values[peak] - last
    if lost <= max(MOVED * returns.noise, FALL * gained, SLIGHT * abs(values[peak])):
        return
    text = f"the mean return fell from {values[peak]:.4g} at step {returns.steps[peak]:,.0f} to {values[-1]:.4g}: "
    if gained > MOVED * returns.noise:
        text += (
            "'asyncrl eval' and 'asyncrl watch' take --checkpoint best for the best agent. To keep what is learned, "
            "try a lower --learning-rate, or --schedule linear with fewer --steps"
        )
    else:
        text += f"learning made the agent worse. Try a much lower --learning-rate, or {_exploration(history)}"
    yield Check(NAME, "note", text)


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
        f"{level:.4g} in the last: continue with asyncrl train --resume --run-dir {history.run.path} {_more(history)}"
    )
    yield Check(NAME, "note", text)


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
        text += f", below {history.goal:g}, which counts as solved here: try {_exploration(history)}, another "
        yield Check(NAME, "note", f"{text}--learning-rate, or the settings of the environment's preset")
    else:
        yield Check(NAME, "good", f"{text}: if the task allows no more, fewer --steps are enough")


def _more(history: History) -> str:
    """The option that gives a resumed run twice the steps or the time."""
    if (history.summary or {}).get("ended_by") == "time":
        return f"--until-seconds {math.ceil(2 * float(history.last[metrics.WALL_SECONDS]))}"
    return f"--steps {2 * history.planned_steps}"


def _last_rise(returns: Returns) -> tuple[float, float]:
    """The gain from the third quarter of the curve to the last, and the gain from which on it is certain."""
    third, fourth = returns.quarter(2), returns.quarter(3)
    rise, gained = float(fourth.mean() - third.mean()), float(np.ptp(returns.values))
    scatter = 3 * returns.noise * float(np.sqrt(1 / len(third) + 1 / len(fourth)))
    return rise, max(scatter, GROWTH * gained, SLIGHT * abs(float(returns.values[0])))


def _exploration(history: History) -> str:
    if history.setting("entropy_weight") is not None:
        return f"a higher --entropy-weight than {history.number('entropy_weight', 0):g}"
    return "more --exploration-steps or higher --final-epsilons"
