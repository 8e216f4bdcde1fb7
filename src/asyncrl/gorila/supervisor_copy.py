"""The supervisor's copy of a cluster's state, for checkpoints, evaluations and shards that have failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from asyncrl.config import Experiment
from asyncrl.errors import RunError
from asyncrl.gorila.cluster import RayServer, cause_of, is_ready, wait_for
from asyncrl.gorila.node import FLUSH_SECONDS
from asyncrl.gorila.remote_node import RemoteNode
from asyncrl.gorila.shard import ShardState
from asyncrl.gorila.state import Vectors, statistics_of_node
from asyncrl.optim.hogwild import optimizer_class
from asyncrl.runtime.disk_watch import Notify
from asyncrl.runtime.store import SharedState

COPY_SECONDS = 2.0
"""Seconds between two copies of the parameters for checkpoints and evaluations. A shard that fails goes back to one."""


class SupervisorCopy:
    """Brings the supervisor's shared memory up to date from shards and nodes, and fills shards that are empty.

    Args:
        experiment: Settings of the run.
        shared: The supervisor's memory, with the state that the run begins with.
        server: The parameter server, which is still empty.
        notify: Takes messages for people.
    """

    def __init__(self, experiment: Experiment, shared: SharedState, server: RayServer, notify: Notify) -> None:
        self.shared, self.server, self.notify = shared, server, notify
        self.optimizer = optimizer_class(experiment.optimizer.optimizer)
        self.versions = [shared.counter.updates] * len(server.shards)  # of each shard, in the copy
        self.restores: dict[int, Any] = {}  # by shard: reference of the answer to `restore`
        self.copies: dict[tuple[str, int], Any] = {}  # references of copies that are on their way
        self.asked_at = -np.inf
        for number in range(len(server.shards)):
            self._restore(number)

    def refresh(self, nodes: Sequence[RemoteNode]) -> None:
        """Takes in what has come, and asks for new copies every few seconds.

        Args:
            nodes: Those that answer.

        Raises:
            RunError: A shard of the parameter server cannot make its optimiser.
        """
        self._take_in()
        if time.monotonic() - self.asked_at >= COPY_SECONDS:
            self._ask(nodes)

    def complete(self, nodes: Sequence[RemoteNode]) -> None:
        """Waits for copies of the present state; see `refresh`."""
        self.copies.clear()
        self._ask(nodes)
        wait_for(list(self.copies.values()), FLUSH_SECONDS)
        self._take_in()

    def _ask(self, nodes: Sequence[RemoteNode]) -> None:
        """Asks shards and nodes for copies, unless they have been asked already."""
        self.asked_at = time.monotonic()
        for number, shard in enumerate(self.server.shards):
            if ("shard", number) not in self.copies:
                self.copies["shard", number] = shard.state.remote()
        for node in nodes:
            has_any = self.shared.target is not None or statistics_of_node(self.shared, node.setup.workers)
            if has_any and ("node", node.setup.number) not in self.copies:
                self.copies["node", node.setup.number] = node.actor.vectors.remote(node is nodes[0])

    def _take_in(self) -> None:
        for number, reference in list(self.restores.items()):
            if is_ready(reference):
                del self.restores[number]
                try:
                    ray.get(reference)
                except RayTaskError as error:
                    raise RunError(f"the parameter server cannot start: {cause_of(error)}") from error
                except RayError:  # the shard has failed, and is restored again when it answers
                    continue
        for (kind, number), reference in list(self.copies.items()):
            if not is_ready(reference):
                continue
            del self.copies[kind, number]
            try:
                copy: ShardState | Vectors | None = ray.get(reference)
            except RayError:  # it is being started again, or its loss will be noticed
                continue
            if isinstance(copy, Vectors):
                copy.give(self.shared)
            elif kind == "shard":
                self._take_shard(number, copy)

    def _take_shard(self, number: int, copy: ShardState | None) -> None:
        if number in self.restores:
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
            self.shared.statistics[self._name(name)].tensor.numpy()[part] = vector
        self.versions[number] = copy.version

    def _restore(self, number: int) -> None:
        """Gives a shard its part of the copy."""
        part = self.server.parts[number]
        names = () if self.shared.gradients is None else self.optimizer.statistics
        vectors = {name: self.shared.statistics[self._name(name)].tensor.numpy()[part].copy() for name in names}
        state = ShardState(self.shared.parameters.tensor.numpy()[part].copy(), vectors, self.versions[number])
        self.restores[number] = self.server.shards[number].restore.remote(state)

    def _name(self, statistic: str) -> str:
        """The name under which the supervisor has a statistic of the server's optimiser: that of a first worker."""
        return f"{statistic}/0" if self.optimizer.private else statistic
