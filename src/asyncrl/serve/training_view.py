"""What the training page shows; it is read from the files of the run folder alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import jinja2
from flask import render_template

from asyncrl import metrics
from asyncrl.analysis.history import History
from asyncrl.analysis.rules.speed import where_time_goes
from asyncrl.check import Check
from asyncrl.errors import UserError
from asyncrl.formatting import duration, short
from asyncrl.run_folder import RunFolder
from asyncrl.run_state import state_of
from asyncrl.runtime.phases import PHASES
from asyncrl.serve.charts import Chart, charts

Made = TypeVar("Made")

REFRESH_SECONDS = 2.0
"""Least time between two readings of the metrics, and between two drawings of the curves."""
LARGEST_SHARE = 0.1
"""Largest share of a core that each of the two may take when there are many metrics."""
LOG_LINES = 14
LOG_BYTES = 16_384
"""The page shows the last lines of the log, looked for in its last bytes."""
EVALUATIONS = 6

Lines = list[dict[str, Any]]


class Throttled(Generic[Made]):
    """A result that is computed from files and kept until they change; safe to use from several threads.

    A result that takes long to compute is computed less often.

    Args:
        make: Computes the result. If it raises, the error is raised again until the files change.
        made: The result before the first computation.
    """

    def __init__(self, make: Callable[[], Made], made: Made) -> None:
        self.make, self.made = make, made
        self.lock, self.due = threading.Lock(), 0.0
        self.stamps: Sequence[int] = ()  # when the files were written that the result is of
        self.problem: Exception | None = None

    def get(self, stamps: Sequence[int]) -> Made:
        """The result, which is computed again if the files have changed and enough time has passed.

        Args:
            stamps: When the files were last written.
        """
        with self.lock:
            if stamps != self.stamps and time.monotonic() >= self.due:
                self._renew(stamps)
            if self.problem is not None:
                raise self.problem.with_traceback(None)
            return self.made

    def _renew(self, stamps: Sequence[int]) -> None:
        began = time.thread_time()
        self.stamps, self.problem = stamps, None
        try:
            self.made = self.make()
        except Exception as error:
            self.problem = error
        finally:
            self.due = time.monotonic() + max(REFRESH_SECONDS, (time.thread_time() - began) / LARGEST_SHARE)


class TrainingView:
    """Reads a run folder and renders the parts of the page, within a request of the Flask application.

    Args:
        folder: The run folder; the run may belong to another process, or have ended.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.lines: Throttled[tuple[Lines, Lines]] = Throttled(self._read_lines, ([], []))
        self.drawings: Throttled[list[Chart]] = Throttled(lambda: charts(*self.lines.made), [])

    def parts(self) -> dict[str, str]:
        """The HTML of all parts except the charts, by name; if a file cannot be read, the part says why."""
        return {name: self._part(name) for name in ("status", "workers", "evaluations", "log")}

    def charts(self) -> dict[str, str]:
        """The same for the charts, which take longer."""
        return {"charts": self._part("charts")}

    def _part(self, name: str) -> str:
        try:
            values: Mapping[str, Any] = getattr(self, f"_{name}")()
            return render_template(f"training/{name}.html", **values)
        except UserError as error:
            text = str(error)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            OSError,
            TypeError,
            ValueError,
            jinja2.TemplateError,
        ) as error:
            text = f"the run's files have unexpected contents ({type(error).__name__}: {error})"
        return render_template("training/problem.html", text=text)

    def _metrics(self) -> tuple[Lines, Lines]:
        """The lines of metrics and of evaluations."""
        files = (self.folder.metrics_file, self.folder.evaluations_file)
        return self.lines.get([file.stat().st_mtime_ns for file in files if file.exists()])

    def _read_lines(self) -> tuple[Lines, Lines]:
        lines = self.folder.read_metrics() if self.folder.metrics_file.exists() else []
        return lines, self.folder.read_evaluations()

    def _last(self) -> dict[str, Any]:
        lines, _ = self._metrics()
        return lines[-1] if lines else {}

    def _status(self) -> dict[str, Any]:
        line, settings, summary = self._last(), self.folder.read_settings(), self.folder.read_summary()
        state = state_of(self.folder)
        steps, speed = line.get(metrics.STEPS, 0), line.get(metrics.STEPS_PER_SECOND, 0)
        total = steps if state.kind == "done" else settings.get("steps") or steps
        left = (total - steps) / speed if state.is_live and speed else None
        return {
            "state": state,
            "share": min(1.0, steps / total) if total else 0.0,
            "steps": f"{short(steps)} of {short(total)}" if summary is None else short(steps),
            "left": None if left is None or left <= 0 else duration(left),
            "wall": duration(line.get(metrics.WALL_SECONDS, 0)),
            "speed": short(speed),
            "line": line,
            "best": (summary or {}).get(metrics.BEST_RETURN_MEAN),
        }

    def _charts(self) -> dict[str, Any]:
        self._metrics()
        return {"charts": self.drawings.get(self.lines.stamps)}

    def _workers(self) -> dict[str, Any]:
        lines, _ = self._metrics()
        summary, data = self.folder.read_summary(), self.folder.read_workers()
        of_session = metrics.shares(summary or {})
        shares = of_session or next((found for line in reversed(lines) if (found := metrics.shares(line))), {})
        checks = where_time_goes(History(self.folder, {}, lines, summary)) if shares else ()
        return {
            "shares": shares,
            "of_session": bool(of_session),
            "hints": [_hint(check) for check in checks if check.verdict == "note"],
            "workers": (data or {}).get("workers", []),
            "are_known": state_of(self.folder).kind == "training",
            "phases": PHASES,
        }

    def _evaluations(self) -> dict[str, Any]:
        _, evaluations = self._metrics()
        return {"evaluations": evaluations[: -EVALUATIONS - 1 : -1], "saved": self.folder.read_evaluation()}

    def _log(self) -> dict[str, Any]:
        return {"lines": _last_lines(self.folder.log_file)}


def _hint(check: Check) -> str:
    """A remark with what may help."""
    return f"{check.name}: {check.text}. Try {', or '.join(advice.text for advice in check.advice)}."


def _last_lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(0, os.SEEK_END)
        opened.seek(max(0, opened.tell() - LOG_BYTES))
        return opened.read().decode(errors="replace").splitlines()[-LOG_LINES:]
