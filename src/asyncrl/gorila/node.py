"""A node: the workers of one machine around its shared memory, and the thread that trades with the parameter server."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asyncrl import metrics
from asyncrl.config import Experiment
from asyncrl.errors import UserError
from asyncrl.gorila.exchange import Exchanger, Server, Traffic
from asyncrl.machine import allow_open_files, check_memory
from asyncrl.runtime.failure import Failure, Note, failure_of
from asyncrl.runtime.fork_server import process_context, start_fork_server
from asyncrl.runtime.processes import ProcessWorkers
from asyncrl.runtime.restarts import free_locks
from asyncrl.runtime.room import memory_bytes
from asyncrl.runtime.shared_model import SharedModel
from asyncrl.runtime.store import SharedState, learning_rate
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.types import EnvironmentInfo, Report

FLUSH_SECONDS = 10.0
"""How long a node waits for each of its last pushes to be answered."""


@dataclass(frozen=True)
class NodeSetup:
    """What a node is started with."""

    number: int  # counted from 0
    experiment: Experiment  # of the whole run
    info: EnvironmentInfo
    folder: Path  # of the run, on the supervisor's machine
    host: str  # the supervisor's machine
    version: str  # of the supervisor's asyncrl
    niceness: int  # of the supervisor

    @property
    def workers(self) -> range:
        """Numbers of the node's workers."""
        each = self.experiment.worker_count // self.experiment.node_count
        return range(self.number * each, (self.number + 1) * each)


@dataclass(frozen=True)
class Shared:
    """A copy of what workers share beside the parameters. Rows are of all workers of the run; see `Counter.rows`."""

    rows: NDArray[np.int64]  # steps, updates and episodes [W+1, 3]
    moments: Tensor | None = None  # of observations [W+1, 2D+1]
    return_moments: Tensor | None = None  # of discounted returns [W+1, 3]

    @classmethod
    def of(cls, shared: SharedState) -> Shared:
        """The present ones."""
        moments, returns = shared.moments, shared.return_moments
        return cls(
            shared.counter.rows,
            None if moments is None else moments.slots,
            None if returns is None else returns.slots,
        )

    def give(self, shared: SharedState, numbers: list[int]) -> None:
        """Writes some of the rows into shared memory."""
        shared.counter.set_rows(numbers, self.rows)
        if shared.moments is not None and self.moments is not None:
            shared.moments.set_slots(numbers, self.moments)
        if shared.return_moments is not None and self.return_moments is not None:
            shared.return_moments.set_slots(numbers, self.return_moments)


@dataclass(frozen=True)
class Vectors:
    """A copy of vectors that workers share, each [P]."""

    statistics: Mapping[str, NDArray[np.float32]]  # the optimiser's
    target: NDArray[np.float32] | None  # θ⁻
    refreshed_at: int  # the global step at which θ⁻ was refreshed last
    parameters: NDArray[np.float32] | None = None  # θ

    @classmethod
    def of(cls, shared: SharedState, names: Iterable[str], with_target: bool, with_parameters: bool) -> Vectors:
        """The present ones. The step is read before θ⁻, so that θ⁻ is never older than the step says.

        Args:
            shared: What workers share.
            names: Which of the optimiser's statistics.
            with_target: Whether to copy θ⁻.
            with_parameters: Whether to copy θ.
        """
        refreshed_at = shared.counter.refreshed_at
        return cls(
            {name: shared.statistics[name].tensor.numpy().copy() for name in names},
            shared.target.tensor.numpy().copy() if with_target and shared.target is not None else None,
            refreshed_at,
            shared.parameters.tensor.numpy().copy() if with_parameters else None,
        )

    def give(self, shared: SharedState) -> None:
        """Writes them into shared memory."""
        if self.parameters is not None:
            np.copyto(shared.parameters.tensor.numpy(), self.parameters)
        if shared.target is not None and self.target is not None:
            np.copyto(shared.target.tensor.numpy(), self.target)
            shared.counter.refreshed_at = self.refreshed_at
        for name, vector in self.statistics.items():
            np.copyto(shared.statistics[name].tensor.numpy(), vector)


@dataclass(frozen=True)
class NodeReport:
    """What a node says to the supervisor."""

    messages: list[Report | Failure | Note]
    shared: Shared  # its own workers' rows count
    started: int  # workers that it was asked to start so far
    process_ids: dict[int, int]  # of its live workers
    running: int  # workers that may still report
    traffic: Traffic
    host: str = field(default_factory=platform.node)


class Node:
    """The workers of one machine.

    All methods return at once, except `poll` and `stop`. They are called by one thread; another one trades.

    Args:
        setup: What the node works on.
        server: The parameter server.
    """

    def __init__(self, setup: NodeSetup, server: Server) -> None:
        self.setup, self.server, self.started = setup, server, 0
        self.messages: deque[Report | Failure | Note] = deque()
        self.over = threading.Event()
        self.opened = False

    def open(self, vectors: Vectors, shared: Shared) -> None:
        """Allocates the node's shared memory, with the present state of the run, and begins to trade.

        What goes wrong is the node's first message.
        """
        try:
            self._open(vectors, shared)
        except Exception as error:
            self.messages.append(failure_of(self.setup.workers[0], error))
            return
        self.opened = True

    def _open(self, vectors: Vectors, shared: Shared) -> None:
        setup, experiment = self.setup, self.setup.experiment
        if setup.version != (here := version("asyncrl")):
            raise UserError(
                f"node {setup.number} ({platform.node()}) has asyncrl {here}, and the supervisor {setup.version}: "
                "install the same version on all nodes"
            )
        if (niceness := own_niceness()) > setup.niceness:
            self.messages.append(
                Note(
                    f"note: Ray runs node {setup.number} ({platform.node()}) with niceness {niceness}, so other "
                    "programs come first: set RAY_worker_niceness=0 where 'ray start' is called"
                )
            )
        share = memory_bytes(experiment, setup.info) // experiment.node_count
        check_memory(share, f"on {platform.node()}: use a smaller --replay-capacity")
        allow_open_files(len(setup.workers))
        start_fork_server()
        context = process_context()
        self.folder = setup.folder if platform.node() == setup.host else Path(tempfile.mkdtemp(prefix="asyncrl-"))
        self.shared = SharedModel(experiment, setup.info, context).shared
        vectors.give(self.shared)
        shared.give(self.shared, list(range(len(shared.rows))))
        self.workers = ProcessWorkers(
            self.shared.counter,
            context,
            experiment.supervision.stall_timeout,
            lambda text: self.messages.append(Note(text)),
        )
        counter, cluster = self.shared.counter, experiment.cluster
        self.exchanger = Exchanger(
            self.shared, self.server, cluster.pushes_in_flight, lambda: learning_rate(experiment, counter.steps)
        )
        self.thread = threading.Thread(target=self._trade, args=(cluster.exchange_seconds,), daemon=True)
        self.thread.start()

    def _trade(self, interval: float) -> None:
        while not self.over.is_set():
            began = time.monotonic()
            self.exchanger.turn(patience=1.0)
            pause = 0.2 if not self.exchanger.connected else 0.0
            self.over.wait(max(began + interval - time.monotonic(), pause, 0.0))

    def start(self, number: int, session: int, attempt: int) -> None:
        """Starts a worker, which may replace one that failed."""
        self.started += 1
        if self.opened:
            setup = self.setup
            self.workers.start(
                WorkerSetup(number, setup.experiment, setup.info, self.shared, self.folder, session, attempt)
            )

    def poll(self, shared: Shared, timeout: float) -> NodeReport:
        """Takes in what the workers of other nodes did, and says what this node's have done.

        Args:
            shared: Rows of all workers; this node's own rows are not used.
            timeout: How long to wait for the first message, in seconds.
        """
        if not self.opened:
            return NodeReport(self._pop(), shared, self.started, {}, 0, Traffic())
        own = set(self.setup.workers)
        shared.give(self.shared, [row for row in range(len(shared.rows)) if row not in own])
        for message in self.workers.poll(timeout):
            if isinstance(message, Failure):
                free_locks(self.setup.experiment, self.shared)
            self.messages.append(self._with_staleness(message) if isinstance(message, Report) else message)
        return self._report()

    def _with_staleness(self, report: Report) -> Report:
        """Adds the mean staleness of the node's pushes to what a worker says."""
        traffic = self.exchanger.traffic
        mean = traffic.staleness / max(traffic.pushes, 1)
        return report + Report(report.worker, totals={metrics.STALENESS: mean * report.updates})

    def _report(self) -> NodeReport:
        workers = self.workers
        return NodeReport(
            self._pop(),
            Shared.of(self.shared),
            self.started,
            dict(workers.process_ids),
            workers.running,
            self.exchanger.traffic,
        )

    def _pop(self) -> list[Report | Failure | Note]:
        messages = list(self.messages)
        self.messages.clear()
        return messages

    def vectors(self, is_first: bool) -> Vectors | None:
        """A copy of what only nodes have: statistics of the optimiser, and θ⁻; None if the node could not be opened.

        Args:
            is_first: Whether this node speaks for all. Each node has its own form of what its workers share.
        """
        if not self.opened:
            return None
        own = {str(number) for number in self.setup.workers}
        names = [
            name for name in self.shared.statistics if ("/" not in name and is_first) or name.rpartition("/")[2] in own
        ]
        return Vectors.of(self.shared, names, with_target=is_first, with_parameters=False)

    def stop(self) -> NodeReport | None:
        """Lets the workers finish their rollouts, and trades what is left; None if it could not be opened."""
        if not self.opened:
            return None
        self.messages.extend(self.workers.stop())
        self.over.set()
        self.thread.join()
        if not self.exchanger.finish(FLUSH_SECONDS):
            self.messages.append(Note(f"warning: node {self.setup.number} could not push its last changes"))
        return self._report()

    def kill(self) -> None:
        """Ends the node's workers and removes what it has written outside the run folder."""
        if self.opened:
            self.over.set()
            self.workers.kill()
            if self.folder != self.setup.folder:
                shutil.rmtree(self.folder, ignore_errors=True)

    def process_id(self) -> int:
        """The process id of the node itself."""
        return os.getpid()


def own_niceness() -> int:
    """How far this process stands back behind others; 0 where the system does not say."""
    return os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0
