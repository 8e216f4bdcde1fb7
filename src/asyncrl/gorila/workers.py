"""The workers of a run on a Ray cluster, as the supervisor sees them."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asyncrl.config import Experiment
from asyncrl.errors import RunError
from asyncrl.formatting import counted
from asyncrl.gorila.cluster import Machine, RayServer, cause_of, machines
from asyncrl.gorila.node import FLUSH_SECONDS, Node, NodeReport, NodeSetup, Rows, Vectors, own_niceness
from asyncrl.gorila.shard import ShardState
from asyncrl.optim.hogwild import optimizer_class
from asyncrl.runtime.disk_watch import Notify
from asyncrl.runtime.failure import Failure, Note
from asyncrl.runtime.processes import LONGEST_POLL, STOP_SECONDS
from asyncrl.runtime.store import SharedState
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.types import EnvironmentInfo, Report

POLL_SECONDS = 0.1
"""How long a node gathers messages of its workers before it answers."""
PLACE_SECONDS = 2.0
"""Seconds between two searches for a machine that a missing node may run on."""
COPY_SECONDS = 2.0
"""Seconds between two copies of the parameters for checkpoints and evaluations. A shard that fails goes back to one."""
SLOW_START_SECONDS = 30.0
"""How long a node may take to start before the user is told."""
KILL_SECONDS = 3.0
"""How long a node may take to end its workers itself."""


class RemoteNode:
    """A node of the run, and the process of the cluster that it has, if it has one.

    Args:
        setup: What the node is started with.
    """

    def __init__(self, setup: NodeSetup) -> None:
        self.setup = setup
        self.waiting: dict[int, WorkerSetup] = {}  # workers to be started as soon as the node has a process
        self._forget()

    def _forget(self) -> None:
        self.actor: Any = None
        self.machine: Machine | None = None
        self.call: Any = None  # reference of the answer to the latest `poll`
        self.live: dict[int, int | None] = {}  # process id of each worker that may still report, once it is known
        self.asked = 0  # number of workers that the process was asked to start
        self.has_answered, self.silent_seconds = False, 0.0

    @property
    def name(self) -> str:
        """Its number and its host, for messages."""
        return f"node {self.setup.number} ({self.machine.host if self.machine else 'no machine yet'})"

    def launch(self, machine: Machine, server: RayServer, vectors: Vectors, rows: Rows) -> None:
        """Starts the node's process on a machine, and the workers that wait for it."""
        actor = ray.remote(Node).options(
            num_cpus=min(len(self.setup.workers), machine.cores),
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(machine.id, soft=False),
        )
        self.actor, self.machine = actor.remote(self.setup, server), machine
        self.actor.open.remote(vectors, rows)
        self.start_waiting()

    def start_waiting(self) -> None:
        """Starts the workers that wait, on the process that the node has."""
        for number, setup in self.waiting.items():
            self.actor.start.remote(number, setup.session, setup.attempt)
            self.live[number] = None
            self.asked += 1
        self.waiting.clear()

    def ask(self, rows: Rows) -> None:
        """Asks the process for its messages, unless it has been asked already."""
        if self.call is None:
            self.call, self.silent_seconds = self.actor.poll.remote(rows, POLL_SECONDS), 0.0

    def heard(self, report: NodeReport) -> None:
        """Notes which workers live; those that were asked for after the report was made are not in it."""
        self.has_answered = True
        if report.started == self.asked:
            self.live = dict(report.process_ids)

    def lost(self, reason: str, exit_code: int | None = None) -> list[Report | Failure]:
        """Gives up the process, and returns a failure for each worker that was lost with it."""
        failures: list[Report | Failure] = [Failure(number, reason, exit_code=exit_code) for number in self.live]
        ray.kill(self.actor)
        self._forget()
        return failures


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
        self.nodes = [
            RemoteNode(NodeSetup(number, experiment, info, folder, platform.node(), version("asyncrl"), own_niceness()))
            for number in range(experiment.node_count)
        ]
        self.server: RayServer | None = None
        self.versions: list[int] = []  # of each shard, in the supervisor's copy
        self.restores: dict[int, Any] = {}  # by shard: reference of the answer to `restore`
        self.copies: dict[tuple[str, int], Any] = {}  # references of copies that are on their way
        self.copied_at = self.placed_at = -np.inf
        self.polled_at = time.monotonic()
        self.told = ""  # latest message about nodes

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, as soon as there is a machine for its node."""
        if self.server is None:
            self.server = RayServer(self.experiment, self.shared.parameters.tensor.numel())
            self.versions = [self.shared.counter.updates] * len(self.server.shards)
            for number in range(len(self.server.shards)):
                self._restore(number)
        node = self.nodes[setup.number // len(self.nodes[0].setup.workers)]
        node.waiting[setup.number] = setup
        if node.actor is not None:
            node.start_waiting()

    def poll(self, timeout: float) -> list[Report | Failure]:
        """Returns new messages, waiting at most `timeout` seconds for the first. Failed workers are removed.

        Raises:
            RunError: A shard of the parameter server cannot make its optimiser.
        """
        self._place()
        there, rows = [node for node in self.nodes if node.actor is not None], Rows.of(self.shared)
        for node in there:
            node.ask(rows)
        if not there:
            time.sleep(timeout)
            return []
        ray.wait([node.call for node in there], timeout=timeout)
        messages: list[Report | Failure] = []
        for node in there:
            if _is_ready(node.call):
                messages += self._take(node)
        messages += self._silent(there)
        self._use_copies()
        if time.monotonic() - self.copied_at >= COPY_SECONDS:
            self._ask_for_copies()
        return messages

    def _take(self, node: RemoteNode) -> list[Report | Failure]:
        reference, node.call = node.call, None
        try:
            report: NodeReport = ray.get(reference)
        except RayError as error:
            problem = str(error)
            if "No module named" in problem:
                missing = problem.rpartition("No module named")[2].split()[0]
                reason = f"{node.name} has no module {missing}: install the same packages on all nodes"
                return node.lost(reason, exit_code=2)
            return node.lost(f"was lost with {node.name}: {cause_of(error)}")
        report.rows.give(self.shared, list(node.setup.workers))
        node.heard(report)
        if (failure := report.failure) is not None:
            if failure.exit_code is not None:
                return node.lost(f"{node.name}: {failure.reason}", failure.exit_code)
            return node.lost(f"was lost with {node.name}, which {failure.reason}")
        return self._without_notes(report)

    def _without_notes(self, report: NodeReport) -> list[Report | Failure]:
        """The report's messages; its notes are told."""
        for message in report.messages:
            if isinstance(message, Note):
                self.notify(message.text)
        return [message for message in report.messages if not isinstance(message, Note)]

    def _silent(self, there: Sequence[RemoteNode]) -> list[Report | Failure]:
        """Gives up nodes that have not answered for too long; says which ones are slow to start."""
        now = time.monotonic()
        passed, self.polled_at = now - self.polled_at, now
        if passed > LONGEST_POLL:  # this process was suspended, and nodes may have been too
            passed = 0.0
        messages: list[Report | Failure] = []
        limit = self.experiment.supervision.stall_timeout
        for node in there:
            before, node.silent_seconds = node.silent_seconds, node.silent_seconds + passed
            if node.has_answered and node.silent_seconds > limit:
                messages += node.lost(f"was lost with {node.name}, which gave no sign of life for {limit:g} s")
            elif not node.has_answered and before < SLOW_START_SECONDS <= node.silent_seconds:
                self.notify(f"{node.name} has not started yet: perhaps its cores are in use by another program of Ray")
        return messages

    def _place(self) -> None:
        """Finds machines for the nodes that have none."""
        missing = [node for node in self.nodes if node.actor is None and node.waiting]
        if not missing or self.server is None or time.monotonic() - self.placed_at < PLACE_SECONDS:
            return
        self.placed_at = time.monotonic()
        taken = {node.machine.id for node in self.nodes if node.machine is not None}
        free = [machine for machine in machines() if machine.id not in taken]
        for node, machine in zip(missing, free, strict=False):
            vectors = Vectors.of(self.shared, self._statistics_of(node), with_target=True, with_parameters=True)
            node.launch(machine, self.server, vectors, Rows.of(self.shared))
        self._tell_nodes()

    def _statistics_of(self, node: RemoteNode) -> list[str]:
        """Names of the optimiser's statistics that a node has."""
        if self.shared.gradients is not None:
            return []
        own = {str(number) for number in node.setup.workers}
        return [name for name in self.shared.statistics if "/" not in name or name.rpartition("/")[2] in own]

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
        """Number of workers that may still report. Those that have no machine yet count until the steps are done."""
        done = self.shared.counter.reached(self.experiment.steps)
        waiting = sum(len(node.waiting) for node in self.nodes)
        starting = sum(len(node.live) for node in self.nodes if not node.has_answered)
        return sum(len(node.live) for node in self.nodes if node.has_answered) + (0 if done else waiting + starting)

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
            if node.has_answered:  # others have done nothing yet
                calls += [(node, node.call)] if node.call is not None else []
                calls.append((node, node.actor.stop.remote()))
        _wait([call for _, call in calls], STOP_SECONDS + 2 * FLUSH_SECONDS)
        for node, call in calls:
            try:
                report: NodeReport | None = ray.get(call, timeout=0.1)
            except (RayError, TimeoutError):
                self.notify(f"warning: {node.name} did not stop in time: its last changes may be lost")
                continue
            if report is not None:
                report.rows.give(self.shared, list(node.setup.workers))
                reports += [message for message in self._without_notes(report) if isinstance(message, Report)]
        self.copies.clear()
        self._ask_for_copies()
        _wait(list(self.copies.values()), FLUSH_SECONDS)
        self._use_copies()
        return reports

    def kill(self) -> None:
        """Ends all workers, nodes and shards that are left."""
        there = [node for node in self.nodes if node.actor is not None]
        _wait([node.actor.kill.remote() for node in there if node.has_answered], KILL_SECONDS)
        for node in there:
            node.lost("")
        for shard in self.server.shards if self.server is not None else ():
            ray.kill(shard)
        self.server = None

    def _ask_for_copies(self) -> None:
        """Asks shards and nodes for copies of what the supervisor saves, unless they have been asked already."""
        if self.server is None:
            return
        self.copied_at = time.monotonic()
        for number, shard in enumerate(self.server.shards):
            if ("shard", number) not in self.copies:
                self.copies["shard", number] = shard.state.remote()
        answering = [node for node in self.nodes if node.has_answered]
        for node in answering if self.shared.target is not None or self._statistics_of(self.nodes[0]) else ():
            if ("node", node.setup.number) not in self.copies:
                copy = node.actor.vectors.remote(node is answering[0])
                self.copies["node", node.setup.number] = copy

    def _use_copies(self) -> None:
        """Brings the supervisor's memory up to date with the copies that have come."""
        for number, reference in list(self.restores.items()):
            if _is_ready(reference):
                del self.restores[number]
                try:
                    ray.get(reference)
                except RayTaskError as error:
                    raise RunError(f"the parameter server cannot start: {cause_of(error)}") from error
                except RayError:  # the shard has failed, and is restored again when it answers
                    continue
        for (kind, number), reference in list(self.copies.items()):
            if not _is_ready(reference):
                continue
            del self.copies[kind, number]
            try:
                copy: ShardState | Vectors | None = ray.get(reference)
            except RayError:  # it is being started again, or its loss will be noticed
                continue
            if isinstance(copy, Vectors):
                copy.give(self.shared)
            elif kind == "shard":
                self._use_shard(number, copy)

    def _use_shard(self, number: int, copy: ShardState | None) -> None:
        if self.server is None or number in self.restores:
            return
        if copy is None:
            self.notify(
                f"warning: shard {number} of the parameter server was started again, and takes up the last copy"
            )
            self._restore(number)
            return
        part = self.server.parts[number]
        self.shared.parameters.tensor.numpy()[part] = copy.parameters
        for name, vector in copy.statistics.items():
            self.shared.statistics[self._server_name(name)].tensor.numpy()[part] = vector
        self.versions[number] = copy.version

    def _restore(self, number: int) -> None:
        """Gives a shard its part of the supervisor's copy."""
        assert self.server is not None
        part, settings = self.server.parts[number], self.experiment.optimizer
        names = () if self.shared.gradients is None else optimizer_class(settings.optimizer).statistics
        vectors = {name: self.shared.statistics[self._server_name(name)].tensor.numpy()[part].copy() for name in names}
        state = ShardState(self.shared.parameters.tensor.numpy()[part].copy(), vectors, self.versions[number])
        self.restores[number] = self.server.shards[number].restore.remote(state)

    def _server_name(self, statistic: str) -> str:
        """The name under which the supervisor has a statistic of the server's optimiser: that of a first worker."""
        return f"{statistic}/0" if optimizer_class(self.experiment.optimizer.optimizer).private else statistic


def _is_ready(reference: Any) -> bool:
    ready, _ = ray.wait([reference], timeout=0)
    return bool(ready)


def _wait(references: Sequence[Any], seconds: float) -> None:
    """Waits until all have come, or for so long."""
    if references:
        ray.wait(list(references), num_returns=len(references), timeout=seconds)
