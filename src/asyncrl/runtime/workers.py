"""What the supervisor's side needs from a runtime: workers that are started, heard and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from asyncrl.runtime.failure import Failure
from asyncrl.runtime.store import SharedState
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.types import EnvironmentInfo, Report


class Workers(Protocol):
    """The workers of a run, wherever they run."""

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, which may replace one that failed."""
        ...

    def poll(self, timeout: float) -> list[Report | Failure]:
        """Returns new messages, waiting at most `timeout` seconds for the first. Failed workers are removed."""
        ...

    @property
    def running(self) -> int:
        """Number of workers that may still report."""
        ...

    @property
    def process_ids(self) -> Mapping[int, int]:
        """Process id of each live worker, by the worker's number."""
        ...

    def stop(self) -> list[Report]:
        """Lets workers finish their rollout, kills those that take too long, and returns their last reports."""
        ...

    def kill(self) -> None:
        """Ends all workers that are left."""
        ...


MakeWorkers = Callable[[EnvironmentInfo, SharedState], Workers]
"""Makes the workers of a run for an environment, around the memory that the supervisor saves and evaluates."""
