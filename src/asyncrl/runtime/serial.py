"""Workers that take turns in this process: deterministic in the seed, for tests and debugging."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence

from asyncrl.errors import RunError, UserError
from asyncrl.runtime.worker import WorkerSetup, work
from asyncrl.types import Report


class SerialWorkers:
    """The same workers as in processes; each does one rollout and its updates per turn."""

    def __init__(self, setups: Sequence[WorkerSetup]) -> None:
        self.workers: dict[int, Iterator[Report]] = {setup.number: work(setup) for setup in setups}
        self.counter = setups[0].shared.counter

    def poll(self, timeout: float) -> list[Report]:
        """One turn of each worker.

        Raises:
            RunError: A worker's environment or algorithm raised.
        """
        reports = []
        for number, worker in list(self.workers.items()):
            try:
                reports.append(next(worker))
            except StopIteration:
                del self.workers[number]
            except UserError:
                raise
            except Exception:
                raise RunError(f"worker {number} failed:\n{traceback.format_exc()}") from None
        return reports

    @property
    def running(self) -> bool:
        """Whether any worker has a turn left."""
        return bool(self.workers)

    def stop(self) -> list[Report]:
        """Ends all workers where they stand, between two rollouts."""
        self.counter.stop()
        self.workers.clear()
        return []

    def kill(self) -> None:
        """Nothing: workers that have no turn left do nothing."""
        self.workers.clear()
