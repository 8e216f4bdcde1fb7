"""workers.json: what each worker of a run is at, for whoever looks in from outside."""

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
"""Of an attempt without a report yet, of one with; before a restart; without restarts left; the run is over."""


class Living(Protocol):
    """Whoever knows which workers live."""

    @property
    def process_ids(self) -> Mapping[int, int]:
        """Of the workers that live, by their numbers."""
        ...


class WorkerStates:
    """Replaces the file with each line of metrics.

    Args:
        file: The file.
        living: Knows which workers live.
        restarts: Knows which workers failed.
        counter: Of what they did in this session.
    """

    name = "workers.json"

    def __init__(self, file: Path, living: Living, restarts: Restarts, counter: Counter) -> None:
        self.file, self.living, self.restarts, self.counter = file, living, restarts, counter
        self.seconds: dict[int, Report] = defaultdict(lambda: Report(worker=-1))  # by worker, in this session
        self.over = False

    def heard(self, report: Report) -> None:
        """Takes in where a worker's time went."""
        self.seconds[report.worker] += Report(report.worker, seconds=report.seconds)

    def end(self) -> None:
        """No worker works any more, however the run ended; the next line says so."""
        self.over = True

    def write(self, metrics: dict[str, Any]) -> None:
        """Writes the file anew; nothing waits for the disk, because it is of this moment only."""
        workers = [self._worker(number) for number in range(len(self.restarts.attempts))]
        data = {"written_at": round(time.time(), 3), "supervisor": os.getpid(), "workers": workers}
        write_text(self.file, json.dumps(data) + "\n", lasting=False)

    def close(self) -> None:
        """Nothing is open."""

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
        """Of the workers that live; serial ones stay when a run is stopped, to be saved."""
        return {} if self.over else self.living.process_ids

    def _state(self, number: int) -> State:
        if number in self._process_ids:
            return "starting" if number in self.restarts.silent else "working"
        if number in self.restarts.due and not self.over:
            return "waiting"
        return "gone" if number in self.restarts.gone else "ended"
