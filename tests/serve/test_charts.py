"""The layout of the training page's curves."""

from __future__ import annotations

from asyncrl.serve.charts import charts

LINES = [{"steps": 100 * n, "return_mean": n, "entropy": 1.0, "value_loss": 1.0, "gradient_norm": 1.0} for n in (1, 2)]


def test_the_charts_leave_no_hole() -> None:
    for without in ((), ("entropy",), ("return_mean",), ("return_mean", "entropy")):
        lines = [{name: value for name, value in line.items() if name not in without} for line in LINES]
        drawn = charts(lines, [])
        assert len(drawn) == len(LINES[0]) - 1 - len(without)
        narrow = [place for place, chart in enumerate(drawn) if not chart.is_wide]
        assert len(narrow) % 2 == 0
        assert narrow == list(range(drawn[0].is_wide and "return_mean" in lines[0], narrow[-1] + 1))  # side by side
