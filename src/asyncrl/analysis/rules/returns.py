"""What the learning curve says."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from asyncrl.analysis.history import History, Returns
from asyncrl.machine import Check

NAME = "return"
FEWEST = 8
"""Independent mean returns (800 episodes or more) below which a curve's shape is not judged."""
MOVED = 5.0
"""Standard deviations: the largest of 40 values that only scatter lies 2 to 3 from their mean, and the deviation is an
estimate itself."""
TREND = 0.6
"""Rank correlation: of values without a trend, eight or more, it is larger once in eight times or less."""
TIME_TO_LEARN = 0.2
"""Part of the run; Pong's policy stays random for its first tenth."""
SLIGHT = 0.03
"""Part of the first mean return: a smaller change is not yet learning, be it ever so certain."""
FALL = 0.5
"""Part of what was gained that is lost again in a collapse; curves of healthy runs lose up to a third for a while."""
GROWTH = 0.08
"""Gain from the third to the last quarter of a run, as part of all that was gained: a straight line has a third."""
EARLY = 0.5
"""Part of the run after which a curve that no longer rises has stood still for long."""


def no_difference(history: History) -> Iterator[Check]:
    """Every episode gave the same return: nothing tells good actions from bad ones."""
    values, episodes = history.series("return_mean").values, int(history.last["episodes"])
    if history.solved or not len(values) or episodes < 100 or np.ptp(values) > 1e-9 * abs(values[0]):
        return
    text = (
        f"each of {episodes:,} episodes had a return of {values[0]:g}: no reward was found that tells actions apart. "
        "See that the environment pays at all (asyncrl watch), shape its reward or make it easier at first, and "
        f"explore more ({_exploration(history)})"
    )
    yield Check(NAME, "note", text)


def never_moved(history: History) -> Iterator[Check]:
    """The mean return is still what it was at first, although episodes differ; a run in training gets time to learn."""
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
    clipped = f"; --reward-clip {clip:g} may hide differences between rewards" if clip else ""
    text = (
        f"the mean return has not left its first value ({first:.4g} at first, {values[-1]:.4g} after "
        f"{history.steps:,} steps). Some tasks need more steps; else try another --learning-rate, "
        f"{_exploration(history)}, a denser reward, --reward-scale so that returns are near 1{clipped}"
    )
    yield Check(NAME, "note", text)


def collapsed(history: History) -> Iterator[Check]:
    """The mean return was much higher once."""
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
            "take --checkpoint best of 'asyncrl eval' and 'asyncrl watch'; a lower --learning-rate, or a --schedule "
            "linear that ends sooner (fewer --steps), keeps what was learned"
        )
    else:
        text += f"learning made it worse. Try a much lower --learning-rate, or {_exploration(history)}"
    yield Check(NAME, "note", text)


def still_improving(history: History) -> Iterator[Check]:
    """The curve rises at the end of a run whose steps or time are over."""
    returns, summary = history.returns, history.summary or {}
    if len(returns.values) < 2 * FEWEST or summary.get("ended_by") not in ("steps", "time") or history.solved:
        return
    rise, certain = _last_rise(returns)
    if rise <= certain:
        return
    level = returns.quarter(3).mean()
    text = (
        f"it was still rising at the end, from {level - rise:.4g} to {level:.4g} over the last half of its "
        f"episodes: go on with asyncrl train --resume --run-dir {history.run.path} {_more(history)}"
    )
    yield Check(NAME, "note", text)


def plateau(history: History) -> Iterator[Check]:
    """The curve has stood still for long: solved, or stuck."""
    returns = history.returns
    if len(returns.values) < 2 * FEWEST:
        return
    level, first = float(returns.quarter(3).mean()), float(returns.values[0])
    rise, certain = _last_rise(returns)
    reached = level - max(3 * returns.noise, 0.05 * (returns.values.max() - first))
    if abs(rise) > certain or first >= reached:
        return  # it still changes, or never rose
    since = float(returns.steps[int((returns.values >= reached).argmax())])
    if since > EARLY * history.steps:
        return
    text = f"has stood near {level:.4g} since step {since:,.0f} ({since / history.steps:.0%} of the run)"
    if history.solved:
        yield Check(NAME, "good", f"{text}: solved; --until-return ends a run there")
    elif history.goal is not None:
        text += f", below the {history.goal:g} that this environment can give: try {_exploration(history)}, another "
        yield Check(NAME, "note", f"{text}--learning-rate, or settings of its preset")
    else:
        yield Check(NAME, "good", f"{text}: if that is what the task can give, fewer --steps do")


def _more(history: History) -> str:
    """Twice of what was over, as options of a resumed run."""
    if (history.summary or {}).get("ended_by") == "time":
        return f"--until-seconds {math.ceil(2 * float(history.last['wall_seconds']))}"
    return f"--steps {2 * history.planned_steps}"


def _last_rise(returns: Returns) -> tuple[float, float]:
    """What the curve gained from its third quarter to its last, and how much of that might be nothing."""
    third, fourth = returns.quarter(2), returns.quarter(3)
    rise, gained = float(fourth.mean() - third.mean()), float(np.ptp(returns.values))
    scatter = 3 * returns.noise * float(np.sqrt(1 / len(third) + 1 / len(fourth)))
    return rise, max(scatter, GROWTH * gained, SLIGHT * abs(float(returns.values[0])))


def _exploration(history: History) -> str:
    if history.setting("entropy_weight") is not None:
        return f"a higher --entropy-weight than {history.number('entropy_weight', 0):g}"
    return "more --exploration-steps or higher --final-epsilons"
