"""Curves of a run's metrics over its steps, as pages and reports draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from asyncrl.analysis.curves import RETURN
from asyncrl.analysis.drawing import ACCENT, INK

MOST_POINTS = 400
"""Of a curve; of more lines each point is the mean of its share of them."""
LOG_RANGE = 100.0
"""Between a curve's lowest and highest point, from which on its axis may be logarithmic."""


@dataclass(frozen=True)
class Metric:
    """How a metric is drawn."""

    title: str
    log: bool = False  # may have a logarithmic axis, if its values are positive and far apart


CURVES = {
    "return_mean": Metric(" ".join(RETURN.split())),
    "steps_per_second": Metric("steps a second"),
    "length_mean": Metric("length of an episode, in steps"),
    "entropy": Metric("entropy of the policy, in nats"),
    "value_mean": Metric("value of the states met"),
    "value_explained": Metric("returns' variance explained by values"),
    "value_loss": Metric("squared error of the values", log=True),
    "gradient_norm": Metric("norm of the gradient", log=True),
    "learning_rate": Metric("learning rate"),
}
"""The metrics that people look at, in this order; one that a run does not have is left out."""


def points(lines: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """A metric over steps, [N, 2] with N at most `MOST_POINTS`: step and value; of lines that have a finite one.

    Raises:
        ValueError: A line holds something else than a number.
    """
    known = np.array([(line["steps"], line[name]) for line in lines if line.get(name) is not None], float)
    known = known.reshape(-1, 2)
    known = known[np.isfinite(known).all(1)]
    shares = np.array_split(known, min(MOST_POINTS, len(known)) or 1)
    return np.array([share.mean(0) for share in shares if len(share)]).reshape(-1, 2)


def draw(axes: Axes, curve: NDArray[np.float64], metric: Metric) -> None:
    """Draws points [N, 2] of a metric, N at least 1; the title is left to the page."""
    steps, values = curve.T
    axes.plot(steps, values, color=ACCENT, linewidth=1.4, marker="o" if len(curve) < 3 else None)
    axes.grid(alpha=0.15, color=INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    if metric.log and values.min() > 0 and values.max() > LOG_RANGE * values.min():
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
