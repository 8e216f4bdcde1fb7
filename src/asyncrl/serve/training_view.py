"""What the training page shows, from the files of a run folder alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2

from asyncrl.analysis.history import History
from asyncrl.analysis.rules.speed import where_time_goes
from asyncrl.errors import UserError
from asyncrl.reporting.progress import duration, short
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.phases import PHASES
from asyncrl.serve.charts import charts

REFRESH_SECONDS = 2.0
"""Between two looks at the metrics, and between two drawings of the curves."""
LARGEST_SHARE = 0.1
"""Of a core that either may take, with metrics that are long."""
SILENT_SECONDS = 30.0
"""Without a line of metrics, which come every ten seconds or more often, after which something is wrong."""
LOG_LINES = 14
LOG_BYTES = 16_384
EVALUATIONS = 6


class Throttle:
    """Lets something be done in its time only."""

    def __init__(self) -> None:
        self.due = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it may be done now."""
        return time.monotonic() >= self.due

    @contextmanager
    def doing(self) -> Iterator[None]:
        """Around what is done; what takes long is done less often."""
        began = time.thread_time()
        yield
        self.due = time.monotonic() + max(REFRESH_SECONDS, (time.thread_time() - began) / LARGEST_SHARE)


class TrainingView:
    """Reads a run folder and fills the parts of the page.

    Args:
        folder: Of the run, which may be of another process, or have ended.
        templates: Of the parts.
    """

    def __init__(self, folder: RunFolder, templates: jinja2.Environment) -> None:
        self.folder, self.templates = folder, templates
        self.lock, self.pencil = threading.Lock(), threading.Lock()  # for reading; for drawing, which takes longer
        self.reading, self.drawing = Throttle(), Throttle()
        self.stamps: list[int] = []  # of the files that were read
        self.drawn: list[int] = []  # of those that the curves show
        self.metrics: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, Any]] = []
        self.charts: list[tuple[str, str]] = []

    def parts(self) -> dict[str, str]:
        """HTML by the part's name; of a file that cannot be read, why. All but the charts."""
        return {name: self._part(name) for name in ("status", "workers", "evaluations", "log")}

    def drawings(self) -> dict[str, str]:
        """The same for the charts."""
        return {"charts": self._part("charts")}

    def _part(self, name: str) -> str:
        try:
            with self.lock:
                self._read_metrics()
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

    def _read_metrics(self) -> None:
        """Reads metrics and evaluations, if it is time and there is something new."""
        if not self.reading.is_due:
            return
        files = (self.folder.metrics_file, self.folder.evaluations_file)
        stamps = [file.stat().st_mtime_ns for file in files if file.exists()]
        if stamps == self.stamps:
            return
        with self.reading.doing():
            self.metrics = self.folder.read_metrics() if self.folder.metrics_file.exists() else []
            self.evaluations, self.stamps = self.folder.read_evaluations(), stamps

    def _status(self) -> dict[str, Any]:
        line, settings, summary = self._last(), self.folder.read_settings(), self.folder.read_summary()
        is_done = summary is not None and summary["status"] == "done"
        total = line.get("steps", 0) if is_done else settings.get("steps") or line.get("steps", 0)
        steps, speed = line.get("steps", 0), line.get("steps_per_second", 0)
        left = (total - steps) / speed if summary is None and speed else None
        return {
            "state": self._state(summary),
            "share": min(1.0, steps / total) if total else 0.0,
            "steps": f"{short(steps)} of {short(total)}" if summary is None else short(steps),
            "left": None if left is None or left <= 0 else duration(left),
            "wall": duration(line.get("wall_seconds", 0)),
            "speed": short(speed),
            "line": line,
            "best": (summary or {}).get("best_return_mean"),
        }

    def _charts(self) -> dict[str, Any]:
        with self.pencil:
            if self.drawing.is_due and self.drawn != self.stamps:
                with self.drawing.doing():
                    stamps = self.stamps
                    self.charts, self.drawn = charts(self.metrics, self.evaluations), stamps
            return {"charts": self.charts}

    def _workers(self) -> dict[str, Any]:
        line, data, history = self._last(), self.folder.read_workers(), History(self.folder, {}, self.metrics, None)
        shares = {phase: line[f"share_{phase}"] for phase in PHASES if f"share_{phase}" in line}
        checks = where_time_goes(history) if shares else ()
        hints = [f"{check.name}: {check.text}" for check in checks if check.verdict == "note"]
        return {"shares": shares, "hints": hints, "workers": (data or {}).get("workers", []), "phases": PHASES}

    def _evaluations(self) -> dict[str, Any]:
        return {"evaluations": self.evaluations[: -EVALUATIONS - 1 : -1], "saved": self.folder.read_evaluation()}

    def _log(self) -> dict[str, Any]:
        return {"lines": _last_lines(self.folder.log_file)}

    def _last(self) -> dict[str, Any]:
        return self.metrics[-1] if self.metrics else {}

    def _state(self, summary: Mapping[str, Any] | None) -> tuple[str, str]:
        """How the run is, and the words for it."""
        if summary is not None:
            return str(summary["status"]), f"{summary['status']} ({summary.get('ended_by', summary['status'])})"
        file = self.folder.metrics_file
        if not file.exists():
            return "starting", "starting"
        silent = time.time() - file.stat().st_mtime
        if silent > SILENT_SECONDS:
            return "silent", f"no sign of life for {duration(silent)}"
        return "training", "training"


def _last_lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(0, os.SEEK_END)
        opened.seek(max(0, opened.tell() - LOG_BYTES))
        return opened.read().decode(errors="replace").splitlines()[-LOG_LINES:]
