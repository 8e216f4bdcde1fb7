"""Workers that take turns in this process: deterministic in the seed, for tests and debugging."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from asyncrl.runtime.failure import Failure, failure_of
from asyncrl.runtime.worker import Worker, WorkerSetup
from asyncrl.types import Report


class SerialWorkers:
    """The same workers as in processes; each does one rollout and its updates per turn."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self.failed: list[Failure] = []

    def start(self, setup: WorkerSetup) -> None:
        """Makes a worker, or another one in the place of one that failed."""
        try:
            self.workers[setup.number] = Worker(setup, keep_actions=True)
        except Exception as error:
            self.failed.append(failure_of(setup.number, error))

    def poll(self, timeout: float) -> list[Report | Failure]:
        """One turn of each worker; one that failed is gone."""
        if not self.running:
            time.sleep(timeout)
        messages: list[Report | Failure] = [*self.failed]
        self.failed.clear()
        for number, worker in list(self.workers.items()):
            if worker.store.done:
                self.workers.pop(number).close()
                continue
            try:
                messages.append(worker.turn())
            except Exception as error:
                del self.workers[number]
                messages.append(failure_of(number, error))
        return messages

    @property
    def running(self) -> int:
        """Number of workers that have a turn left, or something to say."""
        return len(self.workers) + len(self.failed)

    @property
    def process_ids(self) -> dict[int, int]:
        """Of the workers that have a turn left, by their numbers: this process."""
        return dict.fromkeys(self.workers, os.getpid())

    def stop(self) -> list[Report]:
        """Ends all workers where they stand, between two turns."""
        return []

    def kill(self) -> None:
        """Closes what is open."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def snapshots(self) -> dict[int, tuple[WorkerSetup, dict[str, Tensor]]]:
        """What each worker was started with, and what it needs to go on from here."""
        return {number: (worker.setup, worker.snapshot()) for number, worker in self.workers.items()}

    @property
    def memories(self) -> dict[str, Callable[[Path], None]]:
        """By the names of their files, what writes each worker's memory."""
        return {memory_file(number): worker.save_memory for number, worker in self.workers.items()}

    def restore(self, number: int, snapshot: dict[str, Tensor], memory: Path | None) -> str:
        """Lets a worker go on from a snapshot and the file of its memory; returns what could not be restored."""
        if number not in self.workers:
            return ""  # it could not be made: its failure says why
        try:
            return self.workers[number].restore(snapshot, memory)
        except Exception as error:
            self.workers.pop(number).close()
            self.failed.append(failure_of(number, error))
            return ""


def memory_file(worker: int) -> str:
    """The name of the file in a checkpoint that holds a worker's memory."""
    return f"memory-{worker}.safetensors"
