"""The curves of the training page."""

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
    """Titles and SVG of a run's curves over steps, the return first; of those that have a value yet."""
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
    """One curve [N, 2] with single points above it; width and height in inches, of which a page makes what it likes."""
    with drawing(width, height) as (figure, [[axes]]):
        draw(axes, curve, metric)
        if marks:
            axes.plot(*zip(*marks, strict=True), color=MARK, linestyle="none", marker="o", markersize=4)
        axes.tick_params(labelsize=9.5)
    return to_svg(figure)
