"""Curves of a run's metrics over steps, as the pages of `asyncrl watch --serve` and `asyncrl inspect` draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from asyncrl import metrics
from asyncrl.analysis.drawing import ACCENT, INK
from asyncrl.metrics import Metric

MOST_POINTS = 400
"""Points of a curve. Where a run has more lines of metrics, each point is the mean of several."""
LOG_RANGE = 100.0
"""A metric's axis becomes logarithmic if its largest value is more than this many times its smallest."""


def curves(lines: Sequence[Mapping[str, Any]]) -> dict[Metric, NDArray[np.float64]]:
    """The curves [N, 2] that pages draw, in order: those of the table, then statistics of the user's own algorithm.

    Metrics without a value are left out.

    Raises:
        ValueError: A line holds something else than a number.
    """
    names = dict.fromkeys([*metrics.METRICS, *(name for line in lines for name in line)])
    shown = [metric for metric in map(metrics.lookup, names) if metric.is_curve]
    return {metric: curve for metric in shown if len(curve := points(lines, metric.name))}


def points(lines: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """A metric over steps, from the lines in which it is finite: [N, 2] steps and values, N at most `MOST_POINTS`.

    Raises:
        ValueError: A line holds something else than a number.
    """
    known = np.array([(line[metrics.STEPS], line[name]) for line in lines if line.get(name) is not None], float)
    known = known.reshape(-1, 2)
    known = known[np.isfinite(known).all(1)]
    parts = np.array_split(known, min(MOST_POINTS, len(known)) or 1)
    return np.array([part.mean(0) for part in parts if len(part)]).reshape(-1, 2)


def draw(axes: Axes, curve: NDArray[np.float64], metric: Metric) -> None:
    """Draws the curve [N, 2] of a metric, with N at least 1; the caller adds the title."""
    steps, values = curve.T
    axes.plot(steps, values, color=ACCENT, linewidth=1.4, marker="o" if len(curve) < 3 else None)
    axes.grid(alpha=0.15, color=INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    if metric.log and values.min() > 0 and values.max() > LOG_RANGE * values.min():
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
