"""A node: the workers of one machine around its shared memory, and the thread that trades with the parameter server."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from asyncrl import metrics
from asyncrl.config import Experiment
from asyncrl.errors import UserError
from asyncrl.gorila.exchange import Exchanger, Server, Traffic
from asyncrl.gorila.replay_connection import ReplayAddress
from asyncrl.gorila.roles import RoleSetup
from asyncrl.gorila.state import Rows, Vectors, statistics_of_node
from asyncrl.machine import allow_open_files
from asyncrl.runtime.failure import Failure, Note, failure_of
from asyncrl.runtime.fork_server import ONE_THREAD, process_context, start_fork_server
from asyncrl.runtime.processes import ProcessWorkers
from asyncrl.runtime.restarts import free_locks
from asyncrl.runtime.room import check_room_of_node
from asyncrl.runtime.shared_model import SharedModel
from asyncrl.runtime.store import learning_rate
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.types import EnvironmentInfo, Report

FLUSH_SECONDS = 10.0
"""How long a node waits for each of its last pushes to be answered."""
ASK_SECONDS = 0.2
"""Time between two questions whether a server that was lost is there again."""


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
class NodeReport:
    """What a node says to the supervisor."""

    messages: list[Report | Failure | Note]
    rows: Rows  # its own workers' count
    started: int  # workers that it was asked to start so far
    process_ids: dict[int, int]  # of its live workers
    failure: Failure | None = None  # why the node as a whole cannot go on


class Node:
    """The workers of one machine.

    All methods return at once, except `poll` and `stop`. They are called by one thread; another one trades.

    Args:
        setup: What the node works on.
        server: The parameter server.
        replay: Where the replay memory is, if some workers act and others learn.
    """

    def __init__(self, setup: NodeSetup, server: Server, replay: ReplayAddress | None = None) -> None:
        torch.set_num_threads(1)  # the other cores belong to workers
        for name in ONE_THREAD:  # Ray sets them to the number of cores, and workers inherit them
            os.environ[name] = "1"
        self.setup, self.server, self.replay, self.started = setup, server, replay, 0
        self.messages: deque[Report | Failure | Note] = deque()
        self.told = Traffic()  # what reports have said of the traffic
        self.over = threading.Event()
        self.failure: Failure | None = None
        self.opened = False

    def open(self, vectors: Vectors, rows: Rows) -> None:
        """Allocates the node's shared memory, with the present state of the run, and begins to trade."""
        try:
            self._open(vectors, rows)
            self.opened = True
        except Exception as error:
            self.failure = failure_of(self.setup.workers[0], error)

    def _open(self, vectors: Vectors, rows: Rows) -> None:
        setup, experiment = self.setup, self.setup.experiment
        if setup.version != (here := version("asyncrl")):
            raise UserError(
                f"it has asyncrl {here}, and the supervisor {setup.version}: install the same version on all nodes"
            )
        if (niceness := own_niceness()) > setup.niceness:
            self.messages.append(
                Note(
                    f"note: Ray runs node {setup.number} ({platform.node()}) with niceness {niceness}, so other "
                    "programs come first: set RAY_worker_niceness=0 where 'ray start' is called"
                )
            )
        if self.replay is None:
            check_room_of_node(experiment, setup.info)
        allow_open_files(len(setup.workers))
        start_fork_server()
        context, cluster = process_context(), experiment.cluster
        here_too = platform.node() == setup.host and setup.folder.is_dir()
        self.folder = setup.folder if here_too else Path(tempfile.mkdtemp(prefix="asyncrl-"))
        own = () if cluster.exchange == "gradients" else setup.workers
        self.shared = SharedModel(experiment, setup.info, context, own).shared
        vectors.give(self.shared)
        rows.give(self.shared, list(range(len(rows.counts))))
        self.workers = ProcessWorkers(
            self.shared.counter,
            context,
            experiment.supervision.stall_timeout,
            lambda text: self.messages.append(Note(text)),
        )
        counter = self.shared.counter
        self.exchanger = Exchanger(
            self.shared, self.server, cluster.pushes_in_flight, lambda: learning_rate(experiment, counter.steps)
        )
        self.thread = threading.Thread(target=self._trade, args=(cluster.exchange_seconds,), daemon=True)
        self.thread.start()

    def _trade(self, interval: float) -> None:
        """Trades once in each interval, and takes in answers as they come."""
        try:
            while not self.over.is_set():
                exchanger, began = self.exchanger, time.monotonic()
                exchanger.turn()
                pause = max(interval, 0.0 if exchanger.connected or exchanger.pending else ASK_SECONDS)
                while exchanger.pending and (left := began + pause - time.monotonic()) > 0 and not self.over.is_set():
                    exchanger.receive(min(left, 1.0))
                if len(exchanger.pending) == exchanger.in_flight:
                    exchanger.receive(patience=1.0)
                self.over.wait(max(began + pause - time.monotonic(), 0.0))
        except Exception as error:
            self.failure = failure_of(self.setup.workers[0], error)

    def start(self, number: int, session: int, attempt: int) -> None:
        """Starts a worker, which may replace one that failed."""
        self.started += 1
        if not self.opened:
            return  # the node could not be opened, and its next report says so
        try:
            self.workers.start(self._worker_setup(number, session, attempt))
        except Exception as error:
            self.messages.append(failure_of(number, error))

    def _worker_setup(self, number: int, session: int, attempt: int) -> WorkerSetup:
        setup = self.setup
        parts = number, setup.experiment, setup.info, self.shared, self.folder, session, attempt
        return WorkerSetup(*parts) if self.replay is None else RoleSetup(*parts, replay=self.replay)

    def poll(self, rows: Rows, timeout: float) -> NodeReport:
        """Takes in what the workers of other nodes did, and says what this node's have done.

        Args:
            rows: Of all workers; this node's own rows are not used.
            timeout: How long to gather messages, in seconds.
        """
        if not self.opened:
            return NodeReport([], rows, self.started, {}, self.failure)
        own = set(self.setup.workers)
        rows.give(self.shared, [row for row in range(len(rows.counts)) if row not in own])
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            for message in self.workers.poll(left):
                if isinstance(message, Failure):
                    free_locks(self.setup.experiment, self.shared)
                self.messages.append(message)
        return self._report()

    def _report(self) -> NodeReport:
        messages = [self._with_traffic(message) for message in self.messages]
        self.messages.clear()
        process_ids = dict(self.workers.process_ids)
        return NodeReport(messages, Rows.of(self.shared), self.started, process_ids, self.failure)

    def _with_traffic(self, message: Report | Failure | Note) -> Report | Failure | Note:
        """Adds what was traded since the last report of a worker to this one, and the node's host to a failure."""
        where = f"node {self.setup.number} ({platform.node()})"
        if isinstance(message, Failure):
            subject = f"on {where}" if message.exit_code is None else f"{where}:"
            return replace(message, reason=f"{subject} {message.reason}")
        if isinstance(message, Note) or not message.updates:
            return message
        traffic = self.exchanger.traffic
        new, self.told = traffic.since(self.told), replace(traffic)
        staleness = (new if new.pushes else traffic).mean_staleness
        totals = {metrics.STALENESS: staleness * message.updates}
        return message + Report(message.worker, totals=totals, dropped=new.rejected + new.lost)

    def vectors(self, is_first: bool) -> Vectors | None:
        """A copy of what only nodes have: statistics of the optimiser, and θ⁻; None if the node could not be opened.

        Args:
            is_first: Whether this node speaks for all. Each node has its own form of what its workers share.
        """
        if not self.opened:
            return None
        names = [name for name in statistics_of_node(self.shared, self.setup.workers) if "/" in name or is_first]
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
        """Ends the node's workers."""
        if self.opened:
            self.over.set()
            self.workers.kill()


def own_niceness() -> int:
    """How far this process stands back behind others; 0 where the system does not say."""
    return os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0
