"""Curves of metrics: no more points than promised, and nothing is dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.metric_curves import MOST_POINTS, draw, points
from asyncrl.metrics import lookup


def lines(values: Any) -> list[dict[str, Any]]:
    return [{"steps": 10 * number, "entropy": value} for number, value in enumerate(values)]


@pytest.mark.parametrize("count", [1, 2, MOST_POINTS, MOST_POINTS + 1, 1_999, 5_000])
def test_points_are_means_of_all_lines(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    curve = points(lines(values), "entropy")
    assert len(curve) == min(count, MOST_POINTS)
    sizes = [len(share) for share in np.array_split(values, len(curve))]
    assert np.average(curve[:, 1], weights=sizes) == pytest.approx(values.mean())
    assert (np.diff(curve[:, 0]) > 0).all()


def test_a_spike_of_one_line_is_seen() -> None:
    for place in range(1_000, 1_010):
        values = np.zeros(1_999)
        values[place] = 100.0
        curve = points(lines(values), "entropy")
        assert curve[:, 1].max() >= 16
        assert curve[curve[:, 1].argmax(), 0] == pytest.approx(10 * place, abs=50)


def test_what_is_missing_or_not_finite_is_left_out() -> None:
    curve = points(lines([None, 1.0, float("nan"), float("inf"), 3]), "entropy")
    assert curve.tolist() == [[10, 1], [40, 3]]
    assert points(lines([None]), "entropy").shape == points([], "entropy").shape == (0, 2)


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("value_loss", (0.1, 50.0), "log"),
        ("value_loss", (0.1, 5.0), "linear"),
        ("value_loss", (0.0, 50.0), "linear"),
        ("entropy", (0.1, 50.0), "linear"),
    ],
)
def test_scales(name: str, values: tuple[float, float], scale: str) -> None:
    with drawing(2, 2) as (_, [[axes]]):
        draw(axes, np.array([(0, values[0]), (10, values[1])]), lookup(name))
    assert axes.get_yscale() == scale
