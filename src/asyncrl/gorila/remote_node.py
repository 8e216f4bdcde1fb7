"""A node of the run as the supervisor sees it: the process of the cluster that does its work."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asyncrl.gorila.cluster import Machine, RayServer
from asyncrl.gorila.node import Node, NodeReport, NodeSetup
from asyncrl.gorila.replay_connection import ReplayAddress
from asyncrl.gorila.state import Rows, Vectors
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.types import Report

POLL_SECONDS = 0.1
"""How long a node gathers messages of its workers before it answers."""


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

    def launch(
        self, machine: Machine, server: RayServer, replay: ReplayAddress | None, vectors: Vectors, rows: Rows
    ) -> None:
        """Starts the node's process on a machine, and the workers that wait for it."""
        actor = ray.remote(Node).options(
            num_cpus=min(len(self.setup.workers), machine.cores),
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(machine.id, soft=False),
        )
        self.actor, self.machine = actor.remote(self.setup, server, replay), machine
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
