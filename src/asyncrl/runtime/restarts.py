"""Which workers that failed are started again, and when."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import Any

from asyncrl.config import Experiment
from asyncrl.errors import RunError, UserError
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.saver import Notify
from asyncrl.runtime.store import SharedState
from asyncrl.types import Report

WINDOW = 600.0
"""Seconds within which restarts of a worker are counted."""
LOCK_SECONDS = 5.0
"""How long nobody can hold the lock of an experiment that has one, unless a dead worker does."""
RESTART_SECONDS = (0.0, 1.0, 5.0, 30.0)
"""Before a restart of a worker whose last attempts, so many, did not get as far as a report."""


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


class Restarts:
    """Decides about workers that fail: another one in their place as long as their budget lasts, then none.

    Args:
        experiment: Of the run.
        shared: What its workers share.
        notify: Takes what people should know.
    """

    def __init__(self, experiment: Experiment, shared: SharedState, notify: Notify) -> None:
        self.experiment, self.shared, self.notify = experiment, shared, notify
        self.budget = RestartBudget(experiment.supervision.restarts)
        self.attempts = [0] * experiment.worker_count  # of each worker in this session
        self.fruitless = [0] * experiment.worker_count  # of them, the last ones that did not get as far as a report
        self.due: dict[int, float] = {}  # worker → time
        self.last_failure: Failure | None = None
        self.failures: dict[int, Failure] = {}  # the last one of each worker that has failed
        self.silent = set(range(experiment.worker_count))  # whose attempt did not get as far as a report yet
        self.gone: set[int] = set()  # that are not started again

    def heard(self, report: Report) -> None:
        """The worker's attempt got as far as a report."""
        self.fruitless[report.worker] = 0
        self.silent.discard(report.worker)

    def failed(self, failure: Failure, running: int) -> None:
        """Plans another worker in the place of one that failed, as long as it has restarts left.

        Args:
            failure: What happened.
            running: Number of workers that are at work without it.

        Raises:
            UserError: Another worker would fail in the same way, and the user can mend it.
            RunError: Another worker would fail in the same way.
        """
        if failure.exit_code is not None:
            raise (UserError if failure.exit_code == 2 else RunError)(failure.reason)
        details = ""
        if failure.traceback and (self.last_failure is None or self.last_failure.traceback != failure.traceback):
            details = f"\n{failure.traceback.rstrip()}"
        text = f"worker {failure.worker} {failure.reason}"
        self.last_failure = self.failures[failure.worker] = failure
        self._free_locks()
        if self.shared.counter.reached(self.experiment.steps):
            self.notify(f"warning: {text}; the run's steps are done without it{details}")
            return
        now = time.monotonic()
        spent = self.budget.spend(failure.worker, now)
        if spent is None:
            self.gone.add(failure.worker)
            if left := running + len(self.due):
                others = f"{left} worker{'s' if left > 1 else ''}"
                self.notify(f"warning: {text}; it has no restarts left, and the run goes on with {others}{details}")
            return
        delay = RESTART_SECONDS[min(self.fruitless[failure.worker], len(RESTART_SECONDS) - 1)]
        self.due[failure.worker] = now + delay
        self.fruitless[failure.worker] += 1
        when = f" in {delay:g} s" if delay else ""
        count = f"{spent} of {self.experiment.supervision.restarts} within ten minutes"
        self.notify(f"warning: {text}; it is restarted{when} ({count}){details}")

    def pop_due(self) -> list[int]:
        """The workers whose time has come; each begins a new attempt."""
        now = time.monotonic()
        come = [number for number, due in self.due.items() if now >= due]
        for number in come:
            del self.due[number]
            self.attempts[number] += 1
            self.silent.add(number)
        return come

    def _free_locks(self) -> None:
        """Frees the locks that the worker that died may have held."""
        for lock in (self.shared.lock if self.experiment.optimizer.lock else None, self.shared.refresh_lock):
            if lock is not None:
                free: Any = lock
                free.acquire(timeout=LOCK_SECONDS)
                free.release()
