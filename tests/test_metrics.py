"""The table of metrics: everything that a run writes is in it, everybody reads it, and nobody else spells the names."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import asyncrl
from asyncrl import metrics
from asyncrl.algorithms.a3c import A3C
from asyncrl.analysis.metric_curves import curves
from asyncrl.metrics import METRICS, lookup
from asyncrl.reporting.names import grouped
from asyncrl.reporting.progress import PlainProgress
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.shared import Counts
from asyncrl.runtime.telemetry import Telemetry
from asyncrl.types import Loss, Report

SOURCES = Path(asyncrl.__file__).parent
AMBIGUOUS = {
    *(metrics.STEPS, metrics.FRAMES, metrics.UPDATES, metrics.EPISODES, metrics.WORKERS, metrics.RESTARTS),
    *(metrics.LEARNING_RATE, metrics.ENTROPY),
}
"""Names that settings, ends of runs or columns of tables have too: only those who show metrics may not spell them."""
SHOW_METRICS = (
    *("reporting/", "bench/", "runtime/telemetry.py", "runtime/listeners.py", "serve/charts.py"),
    *("analysis/curves.py", "analysis/metric_curves.py", "analysis/inspection/training_curves.py"),
)
SHOW_ENDS = ("reporting/ending.py",)
"""Files that tell the ends of runs, one of which has the name of a metric."""
MAY_SPELL = ("metrics.py", "algorithms/")
"""The table itself; and algorithms, which name their own statistics as those of users do."""


def strings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The string literals of a module, also the constant parts of f-strings, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_only_the_table_spells_the_names_of_metrics(path: Path) -> None:
    place = path.relative_to(SOURCES).as_posix()
    if place.startswith(MAY_SPELL):
        return
    shows_metrics = place.startswith(SHOW_METRICS) and place not in SHOW_ENDS
    names = METRICS.keys() if shows_metrics else METRICS.keys() - AMBIGUOUS
    spelled = strings(ast.parse(path.read_text()))
    found = [f"{place}:{line}: {text!r}" for text, line in spelled if text in names or text == metrics.SHARE]
    assert not found, "use the constants of asyncrl.metrics"


class Curious(A3C):
    """Adds a statistic of its own."""

    def loss(self, *arguments: object) -> Loss:
        loss = super().loss(*arguments)  # type: ignore[arg-type]
        return Loss(loss.total, {**loss.statistics, "surprise_of_states": loss.total.detach()})


def test_everything_that_a_run_writes_has_a_row_and_own_statistics_go_everywhere(in_tmp: Path) -> None:
    settings = {"runtime": "serial", "until_return": None, "algorithm": "tests.test_metrics:Curious"}
    asyncrl.train("Catch", run_dir="run", steps=3000, **settings)
    run = RunFolder(Path("run"))
    line = run.read_metrics()[-1]
    own = lookup("surprise_of_states")
    assert {name for name in line if not name.startswith(metrics.SHARE)} - METRICS.keys() == {own.name}
    assert (own.label, own.path) == ("surprise of states", "learning/surprise_of_states")
    assert own.path in grouped(line)
    *known, last = curves(run.read_metrics())
    assert last == own
    assert known == [metric for metric in METRICS.values() if metric in known]  # in the table's order
    summary = run.read_summary() or {}
    assert summary[own.name] == line[own.name]
    assert json.loads(run.summary_file.read_text())[metrics.BEST_RETURN_MEAN] == summary[metrics.BEST_RETURN_MEAN]


def test_where_time_goes_is_not_learning() -> None:
    telemetry = Telemetry(frames_per_step=1)
    telemetry.add(Report(0, 1, (), {"entropy": 1.0}, {"environment": 3.0, "learn": 1.0}))
    line = telemetry.line(Counts(10, 1, 0), 0.1, workers=1)
    shown = grouped(line)
    assert (shown["speed/share_environment"], shown["speed/share_learn"]) == (0.75, 0.25)
    assert {name for name in shown if name.startswith("learning/")} == {
        "learning/entropy",
        "learning/learning_rate",
        "learning/dropped_updates",
    }
    assert metrics.shares(line) == {"environment": 0.75, "learn": 0.25}


def test_a_row_decides_what_the_terminal_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    row = metrics.Metric(metrics.GRADIENT_NORM, "learning", "gradient norm", terminal="norm")
    monkeypatch.setitem(METRICS, row.name, row)
    telemetry = Telemetry(frames_per_step=1)
    telemetry.add(Report(0, 1, (), {"gradient_norm": 0.5}))
    sink = PlainProgress(Console(file=text, width=200), 100)
    sink.write(telemetry.line(Counts(10, 1, 0), 0.1, workers=1))
    assert "return - · norm 0.50" in text.getvalue()
