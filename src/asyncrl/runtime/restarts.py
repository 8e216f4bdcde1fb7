"""Restart policy: which workers that failed are started again, and when."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import Any

from asyncrl.config import Experiment
from asyncrl.errors import RunError, UserError
from asyncrl.formatting import counted
from asyncrl.runtime.disk_watch import Notify
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.store import SharedState
from asyncrl.types import Report

WINDOW = 600.0
"""Length of the sliding window in which restarts of a worker are counted, in seconds."""
LOCK_SECONDS = 5.0
"""A lock that is held for longer than this belongs to a worker that has died."""
RESTART_SECONDS = (0.0, 1.0, 5.0, 30.0)
"""Delays before a restart, by the number of the worker's latest attempts in a row that sent no report."""


class RestartBudget:
    """Limits how often each worker may be restarted.

    Args:
        restarts: Most restarts of one worker within ten minutes.
    """

    def __init__(self, restarts: int) -> None:
        self.restarts = restarts
        self.times: dict[int, deque[float]] = defaultdict(deque)

    def spend(self, worker: int, now: float) -> int | None:
        """Takes one restart.

        Args:
            worker: Number of the worker.
            now: Time in seconds of a monotonic clock.

        Returns:
            How many restarts the worker has had within ten minutes, this one included; None if it may have no more.
        """
        times = self.times[worker]
        while times and now - times[0] > WINDOW:
            times.popleft()
        if len(times) >= self.restarts:
            return None
        times.append(now)
        return len(times)


class Restarts:
    """Restarts workers that fail while their budgets last; then the run goes on without them.

    Args:
        experiment: Settings of the run.
        shared: Memory that the workers share.
        notify: Takes messages for people.
        replays: Whether workers have replay memories, which are lost with them.
    """

    def __init__(self, experiment: Experiment, shared: SharedState, notify: Notify, replays: bool) -> None:
        self.experiment, self.shared, self.notify, self.replays = experiment, shared, notify, replays
        self.budget = RestartBudget(experiment.supervision.restarts)
        self.attempts = [0] * experiment.worker_count  # restarts of each worker in this session
        self.without_report = [0] * experiment.worker_count  # latest attempts in a row that sent no report
        self.due: dict[int, float] = {}  # time of the next restart, by worker
        self.last_failure: Failure | None = None
        self.failures: dict[int, Failure] = {}  # last failure of each worker that has failed
        self.silent = set(range(experiment.worker_count))  # workers whose present attempt has sent no report yet
        self.gone: set[int] = set()  # workers that will not be restarted

    def heard(self, report: Report) -> None:
        """Notes that a worker's present attempt has sent a report."""
        self.without_report[report.worker] = 0
        self.silent.discard(report.worker)

    def failed(self, failure: Failure, running: int) -> None:
        """Plans a restart of a worker that failed, if its budget allows.

        Args:
            failure: What happened.
            running: Number of workers that are still running.

        Raises:
            UserError: A restart would fail in the same way, and the user can fix the cause.
            RunError: A restart would fail in the same way.
        """
        if failure.exit_code is not None:
            raise (UserError if failure.exit_code == 2 else RunError)(failure.reason)
        details = ""
        if failure.traceback and (self.last_failure is None or self.last_failure.traceback != failure.traceback):
            details = f"\n{failure.traceback.rstrip()}"
        text = f"worker {failure.worker} {failure.reason}"
        self.last_failure = self.failures[failure.worker] = failure
        free_locks(self.experiment, self.shared)
        if self.shared.counter.reached(self.experiment.steps):
            self.notify(f"warning: {text}; the run's steps are done without it{details}")
            return
        now = time.monotonic()
        spent = self.budget.spend(failure.worker, now)
        if spent is None:
            self.gone.add(failure.worker)
            self._check_roles(text)
            if left := running + len(self.due):
                others = counted(left, "worker")
                self.notify(f"warning: {text}; it has no restarts left, and the run goes on with {others}{details}")
            return
        delay = RESTART_SECONDS[min(self.without_report[failure.worker], len(RESTART_SECONDS) - 1)]
        self.due[failure.worker] = now + delay
        self.without_report[failure.worker] += 1
        when = f" in {delay:g} s" if delay else ""
        count = f"{spent} of {self.experiment.supervision.restarts} within ten minutes"
        loss = " with an empty replay memory" if self.replays else ""
        self.notify(f"warning: {text}; it is restarted{when}{loss} ({count}){details}")

    def _check_roles(self, failure: str) -> None:
        """Ends a run whose other workers would wait for ever.

        Raises:
            RunError: No actor, or no learner, is left.
        """
        roles = [self.experiment.role_of(number) for number in range(self.experiment.worker_count)]
        left = {role for number, role in enumerate(roles) if number not in self.gone}
        for role in {"actor", "learner"}.intersection(roles) - left:
            raise RunError(f"{failure}; it has no restarts left, and no other {role} is left")

    def pop_due(self) -> list[int]:
        """Returns the workers to restart now, and counts their new attempts."""
        now = time.monotonic()
        ready = [number for number, due in self.due.items() if now >= due]
        for number in ready:
            del self.due[number]
            self.attempts[number] += 1
            self.silent.add(number)
        return ready


def free_locks(experiment: Experiment, shared: SharedState) -> None:
    """Releases the locks of shared parameters and of the target's refresh if a worker died while it held one."""
    for lock in (shared.lock if experiment.optimizer.lock else None, shared.refresh_lock):
        if lock is not None:
            held: Any = lock
            held.acquire(timeout=LOCK_SECONDS)
            held.release()
