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
from ray.exceptions import RayError

from asyncrl.config import Experiment
from asyncrl.formatting import counted
from asyncrl.gorila.cluster import RayServer, cause_of, is_ready, machines, wait_for
from asyncrl.gorila.node import FLUSH_SECONDS, NodeReport, NodeSetup, own_niceness
from asyncrl.gorila.remote_node import RemoteNode
from asyncrl.gorila.replay_processes import RayReplay
from asyncrl.gorila.state import Rows, Vectors, statistics_of_node
from asyncrl.gorila.supervisor_copy import SupervisorCopy
from asyncrl.runtime.disk_watch import Notify
from asyncrl.runtime.failure import Failure, Note
from asyncrl.runtime.processes import LONGEST_POLL, STOP_SECONDS
from asyncrl.runtime.room import check_room_of_replay
from asyncrl.runtime.store import SharedState
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.types import EnvironmentInfo, Report

PLACE_SECONDS = 2.0
"""Seconds between two searches for a machine that a missing node may run on."""
SLOW_START_SECONDS = 30.0
"""How long a node may take to start before the user is told."""
KILL_SECONDS = 3.0
"""How long a node may take to end its workers itself."""


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
        self.experiment, self.info, self.shared, self.notify = experiment, info, shared, notify
        self.nodes = [
            RemoteNode(NodeSetup(number, experiment, info, folder, platform.node(), version("asyncrl"), own_niceness()))
            for number in range(experiment.node_count)
        ]
        self.server: RayServer | None = None
        self.copy: SupervisorCopy | None = None  # once there is a server
        self.replay: RayReplay | None = None  # where some workers act and others learn
        if experiment.cluster.actors:
            check_room_of_replay(experiment, info)
        self.placed_at = -np.inf
        self.polled_at = time.monotonic()
        self.told = ""  # latest message about nodes

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, as soon as there is a machine for its node."""
        if self.server is None:
            self.server = RayServer(self.experiment, self.shared.parameters.tensor.numel())
            self.copy = SupervisorCopy(self.experiment, self.shared, self.server, self.notify)
            if self.experiment.cluster.actors:
                self.replay = RayReplay(self.experiment, self.info, self.notify)
        node = self.nodes[setup.number // len(self.nodes[0].setup.workers)]
        node.waiting[setup.number] = setup
        if node.actor is not None:
            node.start_waiting()

    def poll(self, timeout: float) -> list[Report | Failure]:
        """Returns new messages, waiting at most `timeout` seconds for the first. Failed workers are removed.

        Raises:
            RunError: A shard of the parameter server or of the replay memory cannot work.
        """
        if self.replay is not None:
            self.replay.watch()
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
            if is_ready(node.call):
                messages += self._take(node)
        messages += self._silent(there)
        if self.copy is not None:
            self.copy.refresh(self._answering)
        return messages

    @property
    def _answering(self) -> list[RemoteNode]:
        return [node for node in self.nodes if node.has_answered]

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
        replay = None if self.replay is None else self.replay.address
        if self.replay is not None and replay is None:
            return  # its shards are not there yet
        self.placed_at = time.monotonic()
        taken = {node.machine.id for node in self.nodes if node.machine is not None}
        free = [machine for machine in machines() if machine.id not in taken]
        for node, machine in zip(missing, free, strict=False):
            statistics = statistics_of_node(self.shared, node.setup.workers)
            vectors = Vectors.of(self.shared, statistics, with_target=True, with_parameters=True)
            node.launch(machine, self.server, replay, vectors, Rows.of(self.shared))
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
        wait_for([call for _, call in calls], STOP_SECONDS + 2 * FLUSH_SECONDS)
        for node, call in calls:
            try:
                report: NodeReport | None = ray.get(call, timeout=0.1)
            except (RayError, TimeoutError):
                self.notify(f"warning: {node.name} did not stop in time: its last changes may be lost")
                continue
            if report is not None:
                report.rows.give(self.shared, list(node.setup.workers))
                reports += [message for message in self._without_notes(report) if isinstance(message, Report)]
        if self.copy is not None:
            self.copy.complete(self._answering)
        return reports

    def kill(self) -> None:
        """Ends all workers, nodes and shards that are left."""
        there = [node for node in self.nodes if node.actor is not None]
        wait_for([node.actor.kill.remote() for node in there if node.has_answered], KILL_SECONDS)
        for node in there:
            node.lost("")
        for shard in self.server.shards if self.server is not None else ():
            ray.kill(shard)
        if self.replay is not None:
            self.replay.kill()
        self.server = self.copy = self.replay = None
