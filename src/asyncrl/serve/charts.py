"""The learning curves of the training page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncrl.analysis.drawing import MARK, drawing, to_svg
from asyncrl.analysis.metric_curves import curves, draw
from asyncrl.metrics import RETURN_MEAN, STEPS, Metric

Points = Sequence[tuple[float, float]]


def charts(metrics: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Draws a run's metrics over steps.

    Args:
        metrics: The lines of metrics.
        evaluations: The lines of evaluations, which become dots on the curve of the return.

    Returns:
        Title and SVG of each metric that has a value, the return first.
    """
    marks = [(line[STEPS], line[RETURN_MEAN]) for line in evaluations]
    drawn = []
    for metric, curve in curves(metrics).items():
        if metric.name == RETURN_MEAN:
            title = f"{metric.label}, over steps" + ("; dots: evaluations" if marks else "")
            drawn.append((title, _svg(curve, metric, marks, width=6.0, height=2.6)))
        else:
            drawn.append((metric.label, _svg(curve, metric)))
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
