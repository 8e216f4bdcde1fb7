"""workers.json: the state of each worker, for programs that watch the run from outside."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from asyncrl.files import write_text
from asyncrl.runtime.restarts import Restarts
from asyncrl.runtime.shared import Counter
from asyncrl.types import Report

State = Literal["starting", "working", "waiting", "gone", "ended"]
"""State of a worker.

- starting: it has sent no report since its start or restart;
- working: it has sent a report;
- waiting: it failed and will be restarted;
- gone: it failed and has no restarts left;
- ended: the run is over.
"""


class LiveWorkers(Protocol):
    """Knows which workers are alive."""

    @property
    def process_ids(self) -> Mapping[int, int]:
        """Process id of each live worker, by the worker's number."""
        ...


class WorkerStates:
    """A sink that writes the file again with each line of metrics.

    Args:
        file: Path of the file.
        workers: Knows which workers are alive.
        restarts: Knows which workers have failed.
        counter: Knows how many steps each worker has made in this session.
    """

    name = "workers.json"

    def __init__(self, file: Path, workers: LiveWorkers, restarts: Restarts, counter: Counter) -> None:
        self.file, self.workers, self.restarts, self.counter = file, workers, restarts, counter
        self.seconds: dict[int, Report] = defaultdict(lambda: Report(worker=-1))  # by worker, in this session
        self.over = False

    def heard(self, report: Report) -> None:
        """Adds the seconds that a worker spent in each phase."""
        self.seconds[report.worker] += Report(report.worker, seconds=report.seconds)

    def end(self) -> None:
        """Notes that the run is over: from now on no worker counts as working."""
        self.over = True

    def write(self, metrics: dict[str, Any]) -> None:
        """Writes the file again, without waiting for the disk: it only describes the present."""
        workers = [self._worker(number) for number in range(len(self.restarts.attempts))]
        data = {"written_at": round(time.time(), 3), "supervisor": os.getpid(), "workers": workers}
        write_text(self.file, json.dumps(data) + "\n", lasting=False)

    def close(self) -> None:
        """Does nothing: the file is not kept open."""

    def _worker(self, number: int) -> dict[str, Any]:
        counts, seconds = self.counter.slot(number), self.seconds[number].seconds
        worked, failure = sum(seconds.values()), self.restarts.failures.get(number)
        return {
            "worker": number,
            "state": self._state(number),
            "attempt": self.restarts.attempts[number],
            "process": self._process_ids.get(number),
            **counts._asdict(),  # steps, updates, episodes
            "shares": {phase: round(part / worked, 3) for phase, part in seconds.items() if worked},
            "last_failure": failure.reason.splitlines()[0] if failure and failure.reason else None,
        }

    @property
    def _process_ids(self) -> Mapping[int, int]:
        """Process ids of live workers; none once the run is over, although serial workers are kept to be saved."""
        return {} if self.over else self.workers.process_ids

    def _state(self, number: int) -> State:
        if number in self._process_ids:
            return "starting" if number in self.restarts.silent else "working"
        if number in self.restarts.due and not self.over:
            return "waiting"
        return "gone" if number in self.restarts.gone else "ended"
