"""Workers that take turns in this process: deterministic in the seed, for tests and debugging."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from asyncrl.runtime.failure import Failure, failure_of
from asyncrl.runtime.global_random import GlobalRandom
from asyncrl.runtime.worker import Restored, Worker, WorkerSetup
from asyncrl.types import Report


class SerialWorkers:
    """The same workers as in processes. In a turn a worker collects one rollout and makes its updates.

    Each worker has its own state of the process-wide random generators, so that turns of other workers, and whatever
    else runs in this process, do not change what its environments draw.
    """

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self.random: dict[int, GlobalRandom] = {}  # by the worker's number
        self.failed: list[Failure] = []

    def start(self, setup: WorkerSetup) -> None:
        """Makes a worker, which may replace one that failed."""
        number = setup.number
        self.random[number] = GlobalRandom(setup.seed)
        try:
            with self.random[number].swapped_in():
                self.workers[number] = Worker(setup, keep_actions=True)
        except Exception as error:
            self.failed.append(failure_of(number, error))

    def poll(self, timeout: float) -> list[Report | Failure]:
        """Gives each worker a turn and returns their messages. Failed workers are removed."""
        if not self.running:
            time.sleep(timeout)
        messages: list[Report | Failure] = [*self.failed]
        self.failed.clear()
        for number, worker in list(self.workers.items()):
            if worker.store.done:
                self.workers.pop(number).close()
                continue
            try:
                with self.random[number].swapped_in():
                    messages.append(worker.turn())
            except Exception as error:
                del self.workers[number]
                messages.append(failure_of(number, error))
        return messages

    @property
    def running(self) -> int:
        """Number of workers that have a turn left, or a failure to report."""
        return len(self.workers) + len(self.failed)

    @property
    def process_ids(self) -> dict[int, int]:
        """The id of this process for each worker that has a turn left, by the worker's number."""
        return dict.fromkeys(self.workers, os.getpid())

    def stop(self) -> list[Report]:
        """Does nothing: workers stop between two turns, and have no reports left."""
        return []

    def kill(self) -> None:
        """Closes all environments."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def snapshots(self) -> dict[int, tuple[WorkerSetup, dict[str, Tensor]]]:
        """Returns each worker's setup, and what it needs to go on from here."""
        return {
            number: (worker.setup, {**worker.snapshot(), **self.random[number].tensors()})
            for number, worker in self.workers.items()
        }

    @property
    def memories(self) -> dict[str, Callable[[Path], None]]:
        """What writes each worker's memory, by the name of its file in a checkpoint."""
        return {memory_file(number): worker.save_memory for number, worker in self.workers.items()}

    def restore(self, number: int, snapshot: dict[str, Tensor], memory: Path | None) -> Restored:
        """Lets a worker, just started, go on from a snapshot and from the file of its memory, if there is one."""
        if number not in self.workers:
            return Restored.COMPLETELY  # it could not be made, and its failure says why
        try:
            with self.random[number].swapped_in():
                restored = self.workers[number].restore(snapshot, memory)
        except Exception as error:
            self.workers.pop(number).close()
            self.failed.append(failure_of(number, error))
            return Restored.COMPLETELY
        if restored is not Restored.WITH_NEW_EPISODES:
            self.random[number].restore(snapshot)
        return restored


def memory_file(worker: int) -> str:
    """The name of the file in a checkpoint that holds a worker's memory."""
    return f"memory-{worker}"
