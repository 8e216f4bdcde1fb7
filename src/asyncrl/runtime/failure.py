"""What a worker or the evaluator says beside its work: that it failed, or something that people should know."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from asyncrl.errors import RunError, UserError


@dataclass(frozen=True)
class Failure:
    """Says why a worker ended before its work was done."""

    worker: int
    reason: str  # continues a sentence that begins with "worker 3"
    traceback: str = ""
    exit_code: int | None = (
        None  # exit code of the run if a restart would fail in the same way; None if a restart may help
    )


@dataclass(frozen=True)
class Note:
    """A message for people."""

    text: str


def failure_of(worker: int, error: Exception) -> Failure:
    """Returns the failure for an exception that a worker raised."""
    if isinstance(error, UserError):
        return Failure(worker, str(error), exit_code=2)
    if isinstance(error, RunError):
        return Failure(worker, str(error), exit_code=1)
    text = "".join(traceback.format_exception(error))
    last = traceback.format_exception_only(error)[-1].strip()
    return Failure(worker, f"failed with {last}", text)
