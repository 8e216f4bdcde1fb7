"""The Ray cluster that a run uses: connecting to it, and the parameter server's processes on it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from asyncrl.config import Experiment, available_cores
from asyncrl.errors import RunError, UserError
from asyncrl.gorila.exchange import ServerLostError
from asyncrl.gorila.shard import Answer, Push, Shard, bounds
from asyncrl.installing import install_command

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
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
        UserError: There is no cluster at that address, or it cannot be joined.
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
        # without an address Ray looks for a cluster of `ray start`, and starts one for this program if there is none
        ray.init(address=None if address == "auto" else address, include_dashboard=False, **QUIET)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        which = "of this machine" if address == "auto" else f"at {address}"
        raise UserError(
            f"the Ray cluster {which} cannot be joined ({cause_of(error)}): it needs the same versions of Ray and "
            "Python, and, if it asks for a token, RAY_AUTH_MODE=token with the token in ~/.ray/auth_token"
        ) from error
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


def with_numbers(experiment: Experiment) -> Experiment:
    """The experiment with its numbers of nodes and of workers on each of them, where they are `auto`.

    Raises:
        UserError: The cluster has no node with a core.
    """
    found = machines()
    if not found:
        raise UserError("no node of the Ray cluster has a core for workers: start its nodes with --num-cpus")
    nodes = len(found) if experiment.cluster.nodes == "auto" else experiment.cluster.nodes
    least = min(machine.cores for machine in found)
    if len(found) == 1:
        least = min(least, available_cores())  # Ray counts cores that this program may not use
    workers = experiment.cluster.actors + experiment.cluster.learners or experiment.workers
    workers = least if workers == "auto" else workers
    return replace(experiment, workers=workers, cluster=replace(experiment.cluster, nodes=nodes))


class ShardActor(Shard):
    """A shard in a process of its own, with one torch thread.

    Args:
        experiment: Settings of the run.
    """

    def __init__(self, experiment: Experiment) -> None:
        torch.set_num_threads(1)
        cluster = experiment.cluster
        optimizer = experiment.optimizer if cluster.exchange == "gradients" else None
        super().__init__(optimizer, cluster.max_staleness, cluster.change_weight)


def beside_supervisor() -> dict[str, Any]:
    """Options of processes on the supervisor's machine, which Ray starts again when they fail, without their state."""
    here = ray.get_runtime_context().get_node_id()
    return {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
    }


class RayServer:
    """The parameter server as processes of a Ray cluster; its shards run on the supervisor's machine.

    A shard that fails is started again by Ray, and is empty then. Pushes are never repeated, because a shard that has
    applied one may fail before it answers.

    Args:
        experiment: Settings of the run.
        size: Number of parameters [P].
    """

    def __init__(self, experiment: Experiment, size: int) -> None:
        self.parts = bounds(size, experiment.cluster.shards)
        actor = ray.remote(ShardActor).options(**beside_supervisor())
        self.shards: list[Any] = [actor.remote(experiment) for _ in self.parts]

    def push(self, values: Tensor | None, learning_rate: float, seen: Sequence[int], own: int) -> RayTrade:
        """Sends a vector [P] in parts to all shards; see `Server.push`."""
        pushes = [
            Push(None if values is None else values[part].numpy(), learning_rate, version, own)
            for part, version in zip(self.parts, seen or [0] * len(self.parts), strict=True)
        ]
        return RayTrade([shard.trade.remote(push) for shard, push in zip(self.shards, pushes, strict=True)])


class RayTrade:
    """A push that is on its way to all shards.

    Args:
        references: Of the shards' answers.
    """

    def __init__(self, references: list[Any]) -> None:
        self.references = references

    def answers(self, timeout: float) -> list[Answer] | None:
        """The answer of each shard; see `Trade.answers`.

        Raises:
            RunError: The shard's optimiser failed.
        """
        _, missing = ray.wait(self.references, num_returns=len(self.references), timeout=timeout)
        if missing:
            return None
        try:
            answers: list[Answer | None] = ray.get(self.references)
        except RayTaskError as error:
            raise RunError(f"the parameter server cannot apply a push: {cause_of(error)}") from error
        except RayError as error:
            raise ServerLostError from error
        complete = [answer for answer in answers if answer is not None]
        if len(complete) < len(answers):
            raise ServerLostError
        return complete


def cause_of(error: Exception) -> str:
    """What went wrong, in one line."""
    cause = getattr(error, "cause", None)
    lines = [line.strip() for line in str(error if cause is None else cause).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def is_ready(reference: Any) -> bool:
    """Whether an answer has come."""
    ready, _ = ray.wait([reference], timeout=0)
    return bool(ready)


def wait_for(references: Sequence[Any], seconds: float) -> None:
    """Waits until all answers have come, or for so long."""
    if references:
        ray.wait(list(references), num_returns=len(references), timeout=seconds)
