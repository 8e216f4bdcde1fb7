"""The shards of the replay memory as processes of a Ray cluster."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asyncrl.config import Experiment
from asyncrl.gorila.cluster import is_ready
from asyncrl.gorila.replay import ReplayShard
from asyncrl.gorila.replay_connection import ReplayAddress, ReplayServer
from asyncrl.runtime.disk_watch import Notify
from asyncrl.types import EnvironmentInfo


class ReplayActor:
    """A shard in a process of its own, with one torch thread.

    Args:
        experiment: Settings of the run.
        info: The environment.
        address: Host and port to listen at.
        key: What workers must know.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo, address: tuple[str, int], key: bytes) -> None:
        torch.set_num_threads(1)
        self.server = ReplayServer(ReplayShard(experiment, info).answer, address, key)

    def process_id(self) -> int:
        """Of this process."""
        return os.getpid()


class RayReplay:
    """The shards of the replay memory; they run on the supervisor's machine.

    A shard that fails is started again by Ray, and is empty then.

    Args:
        experiment: Settings of the run.
        info: The environment.
        notify: Takes messages for people.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo, notify: Notify) -> None:
        self.notify = notify
        host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        ports = _free_ports(host, min(experiment.cluster.replay_shards, experiment.acting_workers))
        self.address = ReplayAddress(tuple((host, port) for port in ports), secrets.token_bytes(32))
        here = ray.get_runtime_context().get_node_id()
        actor = ray.remote(ReplayActor).options(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        self.shards: list[Any] = [
            actor.remote(experiment, info, place, self.address.key) for place in self.address.shards
        ]
        self.process_ids: list[int | None] = [None] * len(self.shards)
        self.questions: dict[int, Any] = {}  # by shard: reference of the answer to `process_id`

    def watch(self) -> None:
        """Says which shards were started again; to be called every now and then."""
        for number, shard in enumerate(self.shards):
            if number not in self.questions:
                self.questions[number] = shard.process_id.remote()
            if not is_ready(self.questions[number]):
                continue
            try:
                found: int = ray.get(self.questions.pop(number))
            except RayError:  # it is being started again
                continue
            if self.process_ids[number] not in (None, found):
                self.notify(f"warning: shard {number} of the replay memory was started again, and begins empty")
            self.process_ids[number] = found

    def kill(self) -> None:
        """Ends all shards."""
        for shard in self.shards:
            ray.kill(shard)


def _free_ports(host: str, count: int) -> list[int]:
    """Ports of this machine that nobody listens at. Shards keep them when they are started again."""
    sockets = [socket.create_server((host, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
