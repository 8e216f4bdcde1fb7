"""The workers of a run on a Ray cluster, as the supervisor sees them."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from asyncrl.config import Experiment
from asyncrl.formatting import counted
from asyncrl.gorila.cluster import Machine, RayServer, machines, on
from asyncrl.gorila.node import FLUSH_SECONDS, Node, NodeReport, NodeSetup, Shared, Vectors, own_niceness
from asyncrl.gorila.shard import ShardState
from asyncrl.optim.hogwild import optimizer_class
from asyncrl.runtime.disk_watch import Notify
from asyncrl.runtime.failure import Failure, Note
from asyncrl.runtime.processes import STOP_SECONDS
from asyncrl.runtime.store import SharedState
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.types import EnvironmentInfo, Report

POLL_SECONDS = 0.1
"""How long a node waits for a message of its workers before it answers without one."""
PLACE_SECONDS = 2.0
"""Seconds between two searches for a machine that a missing node may run on."""
COPY_SECONDS = 2.0
"""Seconds between two copies of the parameters for checkpoints and evaluations. A shard that fails goes back to one."""
KILL_SECONDS = 3.0
"""How long a node may take to end its workers itself."""


class RemoteNode:
    """A node of the run, and the process of the cluster that it has, if it has one.

    Args:
        setup: What the node is started with.
    """

    def __init__(self, setup: NodeSetup) -> None:
        self.setup = setup
        self.actor: Any = None
        self.machine: Machine | None = None
        self.call: Any = None  # reference of the answer to the latest `poll`
        self.waiting: dict[int, WorkerSetup] = {}  # workers to be started as soon as the node has a process
        self.live: dict[int, int | None] = {}  # process id of each worker that may still report, once it is known
        self.asked = 0  # number of workers that the process was asked to start

    def launch(self, machine: Machine, server: RayServer, vectors: Vectors, shared: Shared) -> None:
        """Starts the node's process on a machine."""
        cores = min(len(self.setup.workers), machine.cores)
        actor = ray.remote(Node).options(
            num_cpus=cores, max_restarts=0, max_task_retries=0, scheduling_strategy=on(machine.id, must=True)
        )
        self.actor, self.machine, self.asked, self.call = actor.remote(self.setup, server), machine, 0, None
        self.actor.open.remote(vectors, shared)

    def start_waiting(self) -> None:
        """Starts the workers that wait, on the process that the node has."""
        for number, setup in self.waiting.items():
            self.actor.start.remote(number, setup.session, setup.attempt)
            self.live[number] = None
            self.asked += 1
        self.waiting.clear()

    def heard(self, report: NodeReport) -> None:
        """Notes which workers live; those that were asked for after the report was made are not in it."""
        if report.started == self.asked and report.running == len(report.process_ids):
            self.live = dict(report.process_ids)

    def lost(self) -> list[int]:
        """Forgets the process, which has failed, and returns the numbers of the workers that were lost with it."""
        numbers = list(self.live)
        ray.kill(self.actor)
        self.actor, self.machine, self.call, self.live = None, None, None, {}
        return numbers


class RayWorkers:
    """All workers of a run on a cluster: nodes, the parameter server, and a copy of what they share for the supervisor.

    Args:
        experiment: Settings of the run, with numbers of nodes and workers.
        info: The environment.
        shared: The supervisor's memory, which is brought up to date every few seconds.
        folder: The run's folder.
        notify: Takes messages for people.
    """

    def __init__(
        self, experiment: Experiment, info: EnvironmentInfo, shared: SharedState, folder: Path, notify: Notify
    ) -> None:
        self.experiment, self.shared, self.notify = experiment, shared, notify
        host = platform.node()
        setups = [
            NodeSetup(number, experiment, info, folder, host, version("asyncrl"), own_niceness())
            for number in range(experiment.node_count)
        ]
        self.nodes = [RemoteNode(setup) for setup in setups]
        self.server: RayServer | None = None
        self.copies: list[Any] = []  # references of what `_copy` waits for
        self.copied_at = self.placed_at = -np.inf
        self.told = ""  # latest message about nodes

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, as soon as there is a machine for its node."""
        if self.server is None:
            self.server = RayServer(self.experiment, self.shared.parameters.tensor.numel())
            for number in range(len(self.server.shards)):
                self._restore(number)
        node = self.nodes[setup.number // len(self.nodes[0].setup.workers)]
        node.waiting[setup.number] = setup
        if node.actor is not None:
            node.start_waiting()

    def poll(self, timeout: float) -> list[Report | Failure]:
        """Returns new messages, waiting at most `timeout` seconds for the first. Failed workers are removed."""
        self._place()
        calls = {node.call: node for node in self.nodes if self._ask(node)}
        if not calls:
            time.sleep(timeout)
            return []
        ray.wait(list(calls), timeout=timeout)
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        messages: list[Report | Failure] = []
        for reference in ready:
            messages += self._take(calls[reference], reference)
        self._copy()
        return messages

    def _ask(self, node: RemoteNode) -> bool:
        """Whether the node has a process, which is asked for its messages unless it has been asked already."""
        if node.actor is not None and node.call is None:
            node.call = node.actor.poll.remote(Shared.of(self.shared), POLL_SECONDS)
        return node.actor is not None

    def _take(self, node: RemoteNode, reference: Any) -> list[Report | Failure]:
        node.call = None
        try:
            report: NodeReport = ray.get(reference)
        except RayError as error:
            where = f"node {node.setup.number} ({node.machine.host if node.machine else '?'})"
            problem = str(error)
            if "No module named" in problem:
                missing = problem.rpartition("No module named")[2].split()[0]
                reason = (
                    f"cannot start, because {where} has no module {missing}: install the same packages on all nodes"
                )
                return [Failure(number, reason, exit_code=2) for number in node.lost()]
            return [Failure(number, f"was lost with {where}: {_first_line(problem)}") for number in node.lost()]
        report.shared.give(self.shared, list(node.setup.workers))
        node.heard(report)
        return self._told(report)

    def _told(self, report: NodeReport) -> list[Report | Failure]:
        messages: list[Report | Failure] = []
        for message in report.messages:
            if isinstance(message, Note):
                self.notify(message.text)
            else:
                messages.append(message)
        return messages

    def _place(self) -> None:
        """Finds machines for the nodes that have none."""
        missing = [node for node in self.nodes if node.actor is None and node.waiting]
        if not missing or self.server is None or time.monotonic() - self.placed_at < PLACE_SECONDS:
            return
        self.placed_at = time.monotonic()
        taken = {node.machine.id for node in self.nodes if node.machine is not None}
        free = [machine for machine in machines() if machine.id not in taken]
        names = self.shared.statistics
        for node, machine in zip(missing, free, strict=False):
            vectors = Vectors.of(self.shared, names, with_target=True, with_parameters=True)
            node.launch(machine, self.server, vectors, Shared.of(self.shared))
            node.start_waiting()
        self._tell_nodes()

    def _tell_nodes(self) -> None:
        """Says on which machines the run is, if that has changed."""
        hosts = [node.machine.host for node in self.nodes if node.machine is not None]
        workers = counted(len(self.nodes[0].setup.workers), "worker")
        text = f"{counted(len(hosts), 'node')} with {workers} each: {', '.join(hosts) or 'none yet'}"
        if len(hosts) < len(self.nodes):
            text += f"; {counted(len(self.nodes) - len(hosts), 'more node')} may join"
        if text != self.told:
            self.notify(text)
        self.told = text

    @property
    def running(self) -> int:
        """Number of workers that may still report. Those that wait for a machine count until the steps are done."""
        waiting = 0 if self.shared.counter.reached(self.experiment.steps) else sum(len(n.waiting) for n in self.nodes)
        return waiting + sum(len(node.live) for node in self.nodes)

    @property
    def process_ids(self) -> Mapping[int, int]:
        """Process id, on its own machine, of each live worker, by the worker's number."""
        return {number: pid for node in self.nodes for number, pid in node.live.items() if pid is not None}

    def stop(self) -> list[Report]:
        """Lets workers finish their rollout, kills those that take too long, and returns their last reports."""
        self.shared.counter.stop()
        reports: list[Report] = []
        calls: list[tuple[RemoteNode, Any]] = []
        for node in self.nodes:
            node.waiting.clear()
            if node.actor is not None:
                calls += [(node, node.call)] if node.call is not None else []
                calls.append((node, node.actor.stop.remote()))
        ray.wait(
            [call for _, call in calls], num_returns=len(calls), timeout=STOP_SECONDS + 2 * FLUSH_SECONDS
        ) if calls else None
        for node, call in calls:
            try:
                report: NodeReport | None = ray.get(call, timeout=0.1)
            except (RayError, TimeoutError):
                self.notify(f"warning: node {node.setup.number} did not stop in time: its last changes may be lost")
                continue
            if report is not None:
                report.shared.give(self.shared, list(node.setup.workers))
                reports += [message for message in self._told(report) if isinstance(message, Report)]
        self.copied_at, self.copies = -np.inf, []
        self._copy(patience=FLUSH_SECONDS)
        return reports

    def kill(self) -> None:
        """Ends all workers, nodes and shards that are left."""
        actors = [node.actor for node in self.nodes if node.actor is not None]
        ends = [actor.kill.remote() for actor in actors]
        if ends:
            ray.wait(ends, num_returns=len(ends), timeout=KILL_SECONDS)
        for actor in [*actors, *(self.server.shards if self.server is not None else [])]:
            ray.kill(actor)
        for node in self.nodes:
            node.actor, node.machine, node.call, node.live = None, None, None, {}
        self.server = None

    def _copy(self, patience: float = 0.0) -> None:
        """Brings the supervisor's memory up to date from shards and nodes, without waiting unless it is told to."""
        if self.server is None:
            return
        if not self.copies and time.monotonic() - self.copied_at >= COPY_SECONDS:
            self.copied_at = time.monotonic()
            self.copies = [shard.state.remote() for shard in self.server.shards]
            there = [node for node in self.nodes if node.actor is not None]
            if self.shared.target is not None or (self.shared.gradients is None and self.shared.statistics):
                self.copies += [node.actor.vectors.remote(node is there[0]) for node in there]
        ready, missing = (
            ray.wait(self.copies, num_returns=len(self.copies), timeout=patience) if self.copies else ([], [])
        )
        if missing or not ready:
            return
        copies, self.copies = self.copies, []
        for number, copy in enumerate(copies):
            try:
                self._use(number, ray.get(copy))
            except RayError:  # it is being started again, or its loss will be noticed
                continue

    def _use(self, number: int, copy: ShardState | Vectors | None) -> None:
        assert self.server is not None
        if number >= len(self.server.shards):
            if isinstance(copy, Vectors):
                copy.give(self.shared)
            return
        if not isinstance(copy, ShardState):
            self.notify(
                f"warning: shard {number} of the parameter server was started again, and takes up the last copy"
            )
            self._restore(number)
            return
        part = self.server.parts[number]
        self.shared.parameters.tensor.numpy()[part] = copy.parameters
        for name, vector in copy.statistics.items():
            self.shared.statistics[self._name(name)].tensor.numpy()[part] = vector
        self.server.versions[number] = copy.version

    def _restore(self, number: int) -> None:
        """Gives a shard its part of the supervisor's copy."""
        assert self.server is not None
        part, settings = self.server.parts[number], self.experiment.optimizer
        names = () if self.shared.gradients is None else optimizer_class(settings.optimizer).statistics
        vectors = {name: self.shared.statistics[self._name(name)].tensor.numpy()[part].copy() for name in names}
        parameters = self.shared.parameters.tensor.numpy()[part].copy()
        self.server.shards[number].restore.remote(ShardState(parameters, vectors, self.server.versions[number]))

    def _name(self, statistic: str) -> str:
        """The name under which the supervisor has a statistic of the server's optimiser: that of a first worker."""
        return f"{statistic}/0" if optimizer_class(self.experiment.optimizer.optimizer).private else statistic


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "for an unknown reason")
