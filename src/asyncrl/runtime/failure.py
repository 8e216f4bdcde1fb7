"""What is done about workers that fail: who, why, and how often they may try again."""

from __future__ import annotations

import traceback
from collections import defaultdict, deque
from dataclasses import dataclass

from asyncrl.errors import RunError, UserError

WINDOW = 600.0
"""Seconds within which restarts of a worker are counted."""


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


class RestartBudget:
    """How often each worker may be restarted.

    Args:
        restarts: Within ten minutes.
    """

    def __init__(self, restarts: int) -> None:
        self.restarts = restarts
        self.times: dict[int, deque[float]] = defaultdict(deque)

    def spend(self, worker: int, now: float) -> int | None:
        """Takes one restart, and returns how many the worker has had lately; or None if it may have no more.

        Args:
            worker: Its number.
            now: Seconds of a clock that never goes back.
        """
        times = self.times[worker]
        while times and now - times[0] > WINDOW:
            times.popleft()
        if len(times) >= self.restarts:
            return None
        times.append(now)
        return len(times)
