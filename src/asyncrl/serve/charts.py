"""The curves of the training page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncrl.analysis.curves import RETURN
from asyncrl.analysis.svg import curve

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


def _points(metrics: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(line["steps"], line[name]) for line in metrics if line.get(name) is not None]
