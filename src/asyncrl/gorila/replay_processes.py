"""The shards of the replay memory as processes of a Ray cluster."""

from __future__ import annotations

import secrets
import time
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import ActorDiedError, RayError

from asyncrl.config import Experiment
from asyncrl.errors import RunError
from asyncrl.gorila.cluster import beside_supervisor, cause_of, is_ready
from asyncrl.gorila.replay import ReplayShard
from asyncrl.gorila.replay_connection import ReplayAddress, ReplayServer
from asyncrl.runtime.disk_watch import Notify
from asyncrl.types import EnvironmentInfo

WATCH_SECONDS = 2.0
"""Seconds between two questions whether a shard was started again."""


class ReplayProcess:
    """A shard in a process of its own, with one torch thread. It answers nobody until `listen` is called.

    Args:
        experiment: Settings of the run.
        info: The environment.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo) -> None:
        torch.set_num_threads(1)
        self.shard, self.server = ReplayShard(experiment, info), None

    server: ReplayServer | None

    def listen(self, address: tuple[str, int], key: bytes) -> int | None:
        """Answers workers from now on; returns its port, or None if it is in use."""
        try:
            self.server = ReplayServer(self.shard.answer, address, key)
        except OSError:
            return None
        return self.server.port

    def port(self) -> int | None:
        """Where it listens, if it does."""
        return None if self.server is None else self.server.port


class RayReplay:
    """The shards of the replay memory; they run on the supervisor's machine.

    A shard that fails is started again by Ray, and is empty then. It listens at the same port as before.

    Args:
        experiment: Settings of the run.
        info: The environment.
        notify: Takes messages for people.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo, notify: Notify) -> None:
        self.notify, self.key = notify, secrets.token_bytes(32)
        self.host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        number = min(experiment.cluster.replay_shards, experiment.acting_workers)
        process = ray.remote(ReplayProcess).options(**beside_supervisor())
        self.shards: list[Any] = [process.remote(experiment, info) for _ in range(number)]
        self.ports = [0] * number  # 0 until a shard listens for the first time
        self.told = [False] * number  # whether the user knows that a shard was started again
        self.calls: dict[int, Any] = {}  # by shard: reference of the answer to the latest call
        self.watched_at = -np.inf
        for shard in range(number):
            self._listen(shard)

    @property
    def address(self) -> ReplayAddress | None:
        """Where workers find the shards; None until all of them listen."""
        if not all(self.ports):
            return None
        return ReplayAddress(tuple((self.host, port) for port in self.ports), self.key)

    def watch(self) -> None:
        """Makes shards listen that were started again, and says so; to be called every now and then.

        Raises:
            RunError: A shard cannot start.
        """
        for number, call in list(self.calls.items()):
            if is_ready(call):
                del self.calls[number]
                self._take(number, call)
        if self.address is not None and time.monotonic() - self.watched_at >= WATCH_SECONDS:
            self.watched_at = time.monotonic()
            for number, shard in enumerate(self.shards):
                self.calls.setdefault(number, shard.port.remote())

    def _take(self, number: int, call: Any) -> None:
        try:
            port: int | None = ray.get(call)
        except ActorDiedError as error:
            raise RunError(f"shard {number} of the replay memory cannot run: {cause_of(error)}") from error
        except RayError:  # it is being started again
            port = None
        if port is not None:
            self.ports[number], self.told[number] = port, False
            return
        if self.ports[number] and not self.told[number]:
            self.told[number] = True
            self.notify(f"warning: shard {number} of the replay memory was started again, and begins empty")
        self._listen(number)

    def _listen(self, number: int) -> None:
        self.calls[number] = self.shards[number].listen.remote((self.host, self.ports[number]), self.key)

    def kill(self) -> None:
        """Ends all shards."""
        for shard in self.shards:
            ray.kill(shard)
