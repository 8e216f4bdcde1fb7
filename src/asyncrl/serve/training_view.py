"""What the training page shows, from the files of a run folder alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import jinja2

from asyncrl import metrics
from asyncrl.analysis.history import History
from asyncrl.analysis.rules.speed import where_time_goes
from asyncrl.errors import UserError
from asyncrl.formatting import duration, short
from asyncrl.run_folder import RunFolder
from asyncrl.run_state import state_of
from asyncrl.runtime.phases import PHASES
from asyncrl.serve.charts import charts

Made = TypeVar("Made")

REFRESH_SECONDS = 2.0
"""Between two looks at the metrics, and between two drawings of the curves."""
LARGEST_SHARE = 0.1
"""Of a core that either may take, with metrics that are long."""
LOG_LINES = 14
LOG_BYTES = 16_384
EVALUATIONS = 6

Lines = list[dict[str, Any]]


class Throttled(Generic[Made]):
    """Something made of files that is made anew when they have changed, in its time only; it has a lock.

    Args:
        make: Makes it. What it raises is raised again until the files have changed.
        made: What there is before.
    """

    def __init__(self, make: Callable[[], Made], made: Made) -> None:
        self.make, self.made = make, made
        self.lock, self.due = threading.Lock(), 0.0
        self.stamps: Sequence[int] = ()  # of the files it was made of
        self.problem: Exception | None = None

    def get(self, stamps: Sequence[int]) -> Made:
        """What was made last; what takes long is made less often.

        Args:
            stamps: When the files were written.
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
    """Reads a run folder and fills the parts of the page.

    Args:
        folder: Of the run, which may be of another process, or have ended.
        templates: Of the parts.
    """

    def __init__(self, folder: RunFolder, templates: jinja2.Environment) -> None:
        self.folder, self.templates = folder, templates
        self.lines: Throttled[tuple[Lines, Lines]] = Throttled(self._read_lines, ([], []))
        self.charts: Throttled[list[tuple[str, str]]] = Throttled(lambda: charts(*self.lines.made), [])

    def parts(self) -> dict[str, str]:
        """HTML by the part's name; of a file that cannot be read, why. All but the charts."""
        return {name: self._part(name) for name in ("status", "workers", "evaluations", "log")}

    def drawings(self) -> dict[str, str]:
        """The same for the charts."""
        return {"charts": self._part("charts")}

    def _part(self, name: str) -> str:
        try:
            values: Mapping[str, Any] = getattr(self, f"_{name}")()
            return self.templates.get_template(f"training/{name}.html").render(values)
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
            text = f"the run's files hold something else than expected ({type(error).__name__}: {error})"
        return self.templates.get_template("training/problem.html").render(text=text)

    def _metrics(self) -> tuple[Lines, Lines]:
        """Metrics and evaluations."""
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
        return {"charts": self.charts.get(self.lines.stamps)}

    def _workers(self) -> dict[str, Any]:
        lines, _ = self._metrics()
        summary, data = self.folder.read_summary(), self.folder.read_workers()
        of_session = metrics.shares(summary or {})
        shares = of_session or next((found for line in reversed(lines) if (found := metrics.shares(line))), {})
        checks = where_time_goes(History(self.folder, {}, lines, summary)) if shares else ()
        return {
            "shares": shares,
            "of_session": bool(of_session),
            "hints": [f"{check.name}: {check.text}" for check in checks if check.verdict == "note"],
            "workers": (data or {}).get("workers", []),
            "are_known": state_of(self.folder).kind == "training",
            "phases": PHASES,
        }

    def _evaluations(self) -> dict[str, Any]:
        _, evaluations = self._metrics()
        return {"evaluations": evaluations[: -EVALUATIONS - 1 : -1], "saved": self.folder.read_evaluation()}

    def _log(self) -> dict[str, Any]:
        return {"lines": _last_lines(self.folder.log_file)}


def _last_lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(0, os.SEEK_END)
        opened.seek(max(0, opened.tell() - LOG_BYTES))
        return opened.read().decode(errors="replace").splitlines()[-LOG_LINES:]
