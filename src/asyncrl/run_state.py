"""Whether a run is being trained, has ended or was cut short, as its folder and the machine's processes tell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psutil

from asyncrl.errors import UserError
from asyncrl.formatting import duration
from asyncrl.run_folder import RunFolder

SILENT_SECONDS = 30.0
"""Far longer than a start takes, and than lines of metrics are apart: ten seconds at most while workers work."""
CLOCK_SECONDS = 5.0
"""By which the times of a process and of a file may disagree."""

Kind = Literal["starting", "training", "silent", "gone", "done", "stopped", "failed"]
"""Before the first line of a session; its process lives; none is known of, for too long; it died; three proper ends."""


@dataclass(frozen=True)
class RunState:
    """How a run is."""

    kind: Kind
    text: str  # in words, of one line

    @property
    def is_live(self) -> bool:
        """Whether it is being trained, as far as can be known."""
        return self.kind in ("starting", "training")


def state_of(run: RunFolder) -> RunState:
    """The state of a run, which may be of another process of this machine.

    The process that trains decides, not the age of files: no line of metrics is written while it waits for an
    evaluation, a callback or a slow environment.

    Raises:
        UserError: The summary or the states of its workers are damaged.
    """
    summary = run.read_summary()
    if summary is not None:
        return _ended(run, summary)
    workers = run.read_workers()
    if workers is None:
        return _starting(run)
    try:
        supervisor, written_at = int(workers["supervisor"]), float(workers["written_at"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{run.workers_file} does not say which process trains: take it away") from error
    silent = max(0.0, time.time() - written_at)
    if _lives(supervisor, written_at):
        words = f"training, without a new line of metrics for {duration(silent)}"
        return RunState("training", words if silent > SILENT_SECONDS else "training")
    if _age(run) < silent:  # it was resumed since, by a process that has not written yet
        return _starting(run)
    last = f"its last line of metrics is {duration(silent)} old"
    return RunState("gone", f"cut short: process {supervisor}, which trained it, is gone; {last}")


def _ended(run: RunFolder, summary: Any) -> RunState:
    status = summary.get("status") if isinstance(summary, Mapping) else None
    if status not in ("done", "stopped", "failed"):
        raise UserError(f"{run.summary_file} holds no summary: take it away")
    return RunState(status, f"{status} ({summary.get('ended_by', status)})")


def _starting(run: RunFolder) -> RunState:
    age = _age(run)
    if age <= SILENT_SECONDS:
        return RunState("starting", "starting")
    return RunState("silent", f"no sign of life since it was started {duration(age)} ago")


def _age(run: RunFolder) -> float:
    """Seconds since the session began, which writes the settings first; infinite if there are none."""
    try:
        return max(0.0, time.time() - run.experiment_file.stat().st_mtime)
    except OSError:
        return float("inf")


def _lives(number: int, since: float) -> bool:
    """Whether a process lives, and is not another one that got the number later than `since` (seconds since 1970)."""
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since + CLOCK_SECONDS
    except psutil.AccessDenied:
        return True  # somebody else's: it is there
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
