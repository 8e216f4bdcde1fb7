"""The curves of the training page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import EngFormatter, MaxNLocator

from asyncrl.analysis.curves import RETURN
from asyncrl.analysis.drawing import ACCENT, INK, MARK, drawing, to_svg

TITLES = {
    "steps_per_second": "steps a second",
    "length_mean": "length of an episode, in steps",
    "entropy": "entropy of the policy",
    "value_mean": "value of the states met",
    "value_explained": "share of the returns' variance that values explain",
    "value_loss": "loss of the values",
    "gradient_norm": "norm of the gradient",
}
"""Of the small curves below that of the return, by the metric's name; one that a run does not have is left out."""

MOST_POINTS = 1000
"""Of a curve; of a longer one every second, third, ... point is drawn."""

Points = Sequence[tuple[float, float]]


def charts(metrics: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Titles and SVG of a run's curves over steps, the return first; of those that have a value yet."""
    marks = [(line["steps"], line["return_mean"]) for line in evaluations]
    title = " ".join(RETURN.split()) + ", over steps" + ("; dots: evaluations" if marks else "")
    drawn = []
    if returns := _points(metrics, "return_mean"):
        drawn.append((title, curve(returns, marks, width=6.0, height=2.6)))
    for name, title in TITLES.items():
        if points := _points(metrics, name):
            drawn.append((title, curve(points)))
    return drawn


def _points(metrics: Sequence[dict[str, Any]], name: str) -> Points:
    return [(line["steps"], line[name]) for line in metrics if line.get(name) is not None]


def curve(points: Points, marks: Points = (), width: float = 4.2, height: float = 1.7) -> str:
    """One curve over steps, as SVG.

    Args:
        points: Of the curve: step and value, in order.
        marks: Single points above it.
        width: In inches, of which a page makes what it likes.
        height: In inches.
    """
    shown = [*points[:: max(1, len(points) // MOST_POINTS)], *points[-1:]]
    with drawing(width, height) as (figure, [[axes]]):
        axes.plot(*zip(*shown, strict=True), color=ACCENT, linewidth=1.6, marker="o" if len(points) < 3 else None)
        if marks:
            axes.plot(*zip(*marks, strict=True), color=MARK, linestyle="none", marker="o", markersize=4)
        axes.tick_params(labelsize=9.5)
        axes.grid(alpha=0.15, color=INK)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return to_svg(figure)
