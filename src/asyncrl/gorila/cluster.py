"""The Ray cluster that a run uses: connecting to it, and the parameter server's processes on it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from asyncrl.config import Experiment, available_cores
from asyncrl.errors import UserError
from asyncrl.gorila.exchange import ServerLostError
from asyncrl.gorila.shard import Answer, Push, Shard, bounds
from asyncrl.installing import install_command

try:
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:  # also a Ray that is broken
    raise UserError(f"--runtime ray needs Ray ({error}): {install_command('asyncrl[ray]')}") from error

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
"""Arguments of `ray.init`: what nodes have to say comes as messages of workers."""

CONNECT_SECONDS = 5.0
"""How long a cluster may take to accept a connection."""


@dataclass(frozen=True)
class Machine:
    """A node of the cluster that is alive."""

    id: str  # Ray's
    host: str
    cores: int


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connects to a cluster, or starts Ray on this machine if there is none, and leaves it at the end.

    A connection that the program has already is used and left open.

    Args:
        address: Address of the cluster, HOST:PORT; auto for the one that this machine belongs to, if there is one.

    Raises:
        UserError: There is no cluster at that address.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's default, 15, starves workers beside any other program
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address != "auto":
        _check_listening(address)
    try:
        ray.init(address=address, **QUIET)
    except (ConnectionError, RuntimeError) as error:
        if address != "auto":
            raise UserError(f"{address} is not the address of a Ray cluster of the same version ({error})") from error
        ray.init(address="local", num_cpus=available_cores(), include_dashboard=False, **QUIET)
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Makes sure that something listens there. Ray itself waits for a minute and gives several lines.

    Raises:
        UserError: Nothing does.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address}: start one with 'ray start --head', or leave out --address"
        ) from error


def machines() -> list[Machine]:
    """The nodes of the cluster that are alive and have a core, this machine first."""
    own = ray.get_runtime_context().get_node_id()
    alive = [
        Machine(node["NodeID"], node["NodeManagerHostname"], int(node["Resources"]["CPU"]))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    return sorted(alive, key=lambda machine: (machine.id != own, machine.id))


def placed(experiment: Experiment) -> Experiment:
    """The experiment with its numbers of nodes and of workers on each of them, where they are `auto`.

    Raises:
        UserError: The cluster has no node with a core.
    """
    found = machines()
    if not found:
        raise UserError("no node of the Ray cluster has a core for workers: start its nodes with --num-cpus")
    nodes = len(found) if experiment.cluster.nodes == "auto" else experiment.cluster.nodes
    workers = min(machine.cores for machine in found) if experiment.workers == "auto" else experiment.workers
    return replace(experiment, workers=workers, cluster=replace(experiment.cluster, nodes=nodes))


def on(machine_id: str, must: bool) -> NodeAffinitySchedulingStrategy:
    """Places an actor on a machine; if it need not be there, on another one when that machine is gone."""
    return NodeAffinitySchedulingStrategy(machine_id, soft=not must)


class ShardActor(Shard):
    """A shard in a process of its own, with one torch thread."""

    def __init__(self, *arguments: Any) -> None:
        torch.set_num_threads(1)
        super().__init__(*arguments)

    def process_id(self) -> int:
        """The process id of the shard."""
        return os.getpid()


class RayServer:
    """The parameter server as processes of a Ray cluster; its shards run on the supervisor's machine.

    A shard that fails is started again by Ray, and is empty then. Pushes are never repeated, because a shard that has
    applied one may fail before it answers.

    Args:
        experiment: Settings of the run.
        size: Number of parameters [P].
    """

    def __init__(self, experiment: Experiment, size: int) -> None:
        cluster = experiment.cluster
        gradients = cluster.exchange == "gradients"
        self.parts = bounds(size, cluster.shards)
        self.versions = [0] * len(self.parts)  # of the supervisor's copy
        here = ray.get_runtime_context().get_node_id()
        actor = ray.remote(ShardActor).options(
            num_cpus=0, max_restarts=-1, max_task_retries=0, scheduling_strategy=on(here, must=False)
        )
        self.shards: list[Any] = [
            actor.remote(experiment.optimizer if gradients else None, cluster.max_staleness) for _ in self.parts
        ]

    def push(self, values: Tensor | None, learning_rate: float, seen: int, own: int) -> RayTrade:
        """Sends a vector [P] in parts to all shards; see `Server.push`."""
        parts = [None if values is None else values[part].numpy() for part in self.parts]
        pushes = [Push(part, learning_rate, seen, own) for part in parts]
        return RayTrade([shard.trade.remote(push) for shard, push in zip(self.shards, pushes, strict=True)])


class RayTrade:
    """A push that is on its way to all shards.

    Args:
        references: Of the shards' answers.
    """

    def __init__(self, references: list[Any]) -> None:
        self.references = references

    def answers(self, timeout: float) -> list[Answer] | None:
        """The answer of each shard; see `Trade.answers`."""
        _, missing = ray.wait(self.references, num_returns=len(self.references), timeout=timeout)
        if missing:
            return None
        try:
            answers: list[Answer | None] = ray.get(self.references)
        except RayError as error:
            raise ServerLostError from error
        complete = [answer for answer in answers if answer is not None]
        if len(complete) < len(answers):
            raise ServerLostError
        return complete
