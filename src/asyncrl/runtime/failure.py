"""A worker that failed: who, and why."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from asyncrl.errors import RunError, UserError


@dataclass(frozen=True)
class Failure:
    """A worker's end before its work was done."""

    worker: int
    reason: str  # goes on with "worker 3 ..."
    traceback: str = ""
    exit_code: int | None = None  # of the run, if another worker would fail in the same way; None: it may be restarted


def failure_of(worker: int, error: Exception) -> Failure:
    """The failure that an exception in the worker's own code makes."""
    if isinstance(error, UserError):
        return Failure(worker, str(error), exit_code=2)
    if isinstance(error, RunError):
        return Failure(worker, str(error), exit_code=1)
    text = "".join(traceback.format_exception(error))
    last = traceback.format_exception_only(error)[-1].strip()
    return Failure(worker, f"failed with {last}", text)
