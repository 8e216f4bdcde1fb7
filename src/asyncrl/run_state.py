"""Finds out from a run's folder and this machine's processes whether it is training, has ended or has crashed."""

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
"""A run is silent after this time without a line of metrics. Lines are at most ten seconds apart while workers work."""
CLOCK_SECONDS = 5.0
"""Tolerance between the start time of a process and the modification time of a file."""

Kind = Literal["starting", "training", "silent", "gone", "done", "stopped", "failed"]
"""State of a run.

- starting: its session has not written a line of metrics yet;
- training: the process that trains it is alive;
- silent: it was started long ago, and no process has written anything since;
- gone: the process that trained it has died;
- done, stopped, failed: it has ended, as its summary says.
"""


@dataclass(frozen=True)
class RunState:
    """State of a run."""

    kind: Kind
    text: str  # description of one line

    @property
    def is_live(self) -> bool:
        """Whether it is starting or training."""
        return self.kind in ("starting", "training")


def state_of(run: RunFolder) -> RunState:
    """Finds the state of a run that any process of this machine may be training.

    A run counts as alive while its process lives, however old its files are: no line of metrics is written while the
    process waits for an evaluation, a callback or a slow environment.

    Raises:
        UserError: summary.json or workers.json is damaged.
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
    if _age(run) < silent:  # it has been resumed by a process that has not written yet
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
    """Seconds since the session began, when it wrote the settings; infinite if there are none."""
    try:
        return max(0.0, time.time() - run.experiment_file.stat().st_mtime)
    except OSError:
        return float("inf")


def _lives(number: int, since: float) -> bool:
    """Whether the process that had this number at the time `since` (seconds since 1970) is still alive."""
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since + CLOCK_SECONDS
    except psutil.AccessDenied:
        return True  # it exists and belongs to another user
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
