"""The learning curves of the training page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncrl.analysis.drawing import MARK, drawing, to_svg
from asyncrl.analysis.metric_curves import curves, draw
from asyncrl.metrics import RETURN_MEAN, STEPS, Metric, lookup

Points = Sequence[tuple[float, float]]
WIDE = 8.6
"""Width in inches of a chart that is as wide as two others, so that its labels are as large as theirs."""


class Chart(NamedTuple):
    """One curve for the page."""

    title: str
    svg: str
    is_wide: bool  # as wide as the page's column; two others share it


def charts(metrics: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]]) -> list[Chart]:
    """Draws a run's metrics over steps.

    Args:
        metrics: The lines of metrics.
        evaluations: The lines of evaluations, which become dots on the curve of the return.

    Returns:
        The chart of each metric that has a value, the return first. The number of narrow charts is even, so that they
        leave no hole.
    """
    marks = [(line[STEPS], line[RETURN_MEAN]) for line in evaluations]
    found = curves(metrics)
    is_odd = len(found.keys() - {lookup(RETURN_MEAN)}) % 2
    drawn = []
    for number, (metric, curve) in enumerate(found.items(), 1):
        if metric.name == RETURN_MEAN:
            title = f"{metric.label}, over steps" + ("; dots: evaluations" if marks else "")
            drawn.append(Chart(title, _svg(curve, metric, marks, width=WIDE, height=2.8), True))
        elif is_odd and number == len(found):
            drawn.append(Chart(metric.label, _svg(curve, metric, width=WIDE), True))
        else:
            drawn.append(Chart(metric.label, _svg(curve, metric), False))
    return drawn


def _svg(
    curve: NDArray[np.float64], metric: Metric, marks: Points = (), width: float = 4.2, height: float = 1.7
) -> str:
    """Draws one curve [N, 2], and single points over it; the page scales the size, which is in inches."""
    with drawing(width, height) as (figure, [[axes]]):
        draw(axes, curve, metric)
        if marks:
            axes.plot(*zip(*marks, strict=True), color=MARK, linestyle="none", marker="o", markersize=4)
        axes.tick_params(labelsize=9.5)
    return to_svg(figure)
