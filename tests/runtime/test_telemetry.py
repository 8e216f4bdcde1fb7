"""Telemetry and its sinks."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from asyncrl.formatting import duration, short
from asyncrl.reporting.json_lines import JsonLines
from asyncrl.reporting.progress import LiveProgress, PlainProgress, describe, make_progress
from asyncrl.runtime.shared import Counts
from asyncrl.runtime.telemetry import Telemetry
from asyncrl.types import Episode, Report


def episodes(*returns: float) -> tuple[Episode, ...]:
    return tuple(Episode(total, 10, 0) for total in returns)


def test_statistics_are_means_over_updates_since_the_last_line() -> None:
    telemetry = Telemetry(frames_per_step=4)
    telemetry.add(Report(0, 3, (), {"entropy": 3.0}))
    telemetry.add(Report(1, 1, (), {"entropy": 5.0}))
    line = telemetry.line(Counts(100, 4, 3), 0.1, 2)
    assert line["entropy"] == 2.0
    assert (line["steps"], line["frames"], line["updates"]) == (100, 400, 4)
    assert "entropy" not in telemetry.line(Counts(100, 4, 3), 0.1, 2)


def test_explained_variance_is_over_all_targets_of_a_line() -> None:
    random = np.random.default_rng(0)
    targets = 1000 + np.repeat(random.normal(0, 1, 8), 50).reshape(8, 50)  # all of one update are alike
    values = targets + random.normal(0.3, 0.3, targets.shape)
    telemetry = Telemetry(1)
    for target, value in zip(targets, values, strict=True):
        totals = {"value_loss": ((target - value) ** 2).mean(), "value_mean": value.mean()}
        telemetry.add(Report(0, 1, (), totals | {"target_mean": target.mean(), "target_square": (target**2).mean()}))
    line = telemetry.line(Counts(1, 1, 3), 0.1, 1)
    assert line["value_explained"] == pytest.approx(1 - (targets - values).var() / targets.var(), rel=1e-6)
    assert 0.5 < line["value_explained"] < 0.9
    assert "target_square" not in line
    telemetry.add(Report(0, 1, (), {"value_loss": 4.0, "value_mean": 5.0, "target_mean": 3.0, "target_square": 9.0}))
    assert telemetry.line(Counts(1, 1, 3), 0.1, 1)["value_explained"] is None  # the targets do not vary
    telemetry.add(Report(0, 1, (), {"value_loss": 4.0}))
    assert "value_explained" not in telemetry.line(Counts(1, 1, 3), 0.1, 1)  # an algorithm of somebody's own


def test_shares_of_time_are_over_all_workers() -> None:
    telemetry = Telemetry(1)
    assert telemetry.shares() == {}
    telemetry.add(Report(0, 1, seconds={"act": 1.0, "learn": 2.0}))
    assert telemetry.line(Counts(1, 1, 3), 0.1, 2)["share_learn"] == pytest.approx(2 / 3, abs=1e-3)
    telemetry.add(Report(1, 1, seconds={"act": 1.0, "learn": 0.0}))
    line = telemetry.line(Counts(2, 2, 3), 0.1, 2)
    assert (line["share_act"], line["share_learn"]) == (1.0, 0.0)
    assert telemetry.shares() == {"share_act": 0.5, "share_learn": 0.5}
    assert "share_act" not in telemetry.line(Counts(2, 2, 3), 0.1, 2)


def test_the_return_mean_is_of_the_last_hundred_and_null_before_the_first() -> None:
    telemetry = Telemetry(1)
    assert telemetry.line(Counts(0, 0, 3), 0.1, 2)["return_mean"] is None
    assert telemetry.best_return_mean is None
    telemetry.add(Report(0, 0, episodes(*[0.0] * 50)))
    assert not telemetry.reached(-5.0)  # too few episodes to tell
    telemetry.add(Report(0, 0, episodes(*[-2.0] * 100)))
    assert telemetry.line(Counts(0, 0, 3), 0.1, 2)["return_mean"] == -2.0
    assert telemetry.best_return_mean == -1.0  # half zeros, half minus two, on the way
    assert telemetry.reached(-2.0)
    assert not telemetry.reached(-1.9)
    assert not telemetry.reached(None)


def test_a_resumed_run_goes_on_counting() -> None:
    first = Telemetry(1)
    first.add(Report(0, 0, episodes(1.0, 2.0)))
    second = Telemetry(1, 500, dataclasses.replace(first.state(2), wall_seconds=60.0))
    second.add(Report(0, 0, episodes(3.0)))
    line = second.line(Counts(600, 1, 3), 0.1, 2)
    assert (line["episodes"], line["return_mean"]) == (3, 2.0)
    assert line["wall_seconds"] >= 60
    assert line["steps_per_second"] > 0


def test_the_best_mean_never_falls() -> None:
    telemetry = Telemetry(1)
    telemetry.add(Report(0, 0, episodes(*[0.0] * 100)))
    telemetry.add(Report(0, 0, episodes(*[-1.0] * 50)))
    assert telemetry.best_return_mean == 0.0


def test_reports_add_up() -> None:
    total = Report(3, 1, episodes(1.0), {"a": 1.0}) + Report(3, 2, episodes(2.0), {"a": 2.0, "b": 5.0})
    assert (total.worker, total.updates, len(total.episodes), dict(total.totals)) == (3, 3, 2, {"a": 3.0, "b": 5.0})


def test_json_lines_are_appended(tmp_path: Path) -> None:
    for number in range(2):
        sink = JsonLines(tmp_path / "metrics.jsonl")
        sink.write({"steps": number})
        sink.close()
    assert [json.loads(line)["steps"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0, 1]


@pytest.mark.parametrize("width", [20, 80])
def test_progress_on_a_terminal_and_in_a_log(width: int) -> None:
    line = Telemetry(4).line(Counts(2_000_000, 10, 3), 0.1, 2) | {"return_mean": -16.0, "entropy": 1.5}
    terminal, log = io.StringIO(), io.StringIO()
    live = make_progress(Console(file=terminal, force_terminal=True, width=width), 8_000_000)
    plain = make_progress(Console(file=log, width=width), 8_000_000)
    assert isinstance(live, LiveProgress)
    assert isinstance(plain, PlainProgress)
    for sink in (live, plain):
        sink.write(line)
        sink.close()
    text = log.getvalue()
    assert text.count("\n") == 1
    for part in ("steps 2M/8M (25 %)", "frames 8M", "return -16.00", "entropy 1.50"):
        assert part in text
    assert "2M/8M" in terminal.getvalue()


def test_numbers_as_people_write_them() -> None:
    assert [short(n) for n in (0, 999, 1000, 1_234_567, 999_999, 2_500_000_000)] == [
        "0",
        "999",
        "1k",
        "1.23M",
        "1000k",
        "2.5G",
    ]
    assert [duration(s) for s in (5, 65, 3700)] == ["5 s", "1 min 05 s", "1 h 01 min"]
    assert "return -" in describe(Telemetry(1).line(Counts(1, 1, 3), 0.1, 2), 10)
