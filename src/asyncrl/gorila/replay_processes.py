"""The shards of the replay memory as processes of a Ray cluster."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
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
"""Seconds between two calls that make a shard listen, in case it was started again."""


class ReplayProcess:
    """A shard in a process of its own, with one torch thread. It answers nobody until `listen` is called.

    Args:
        experiment: Settings of the run.
        info: The environment.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo) -> None:
        torch.set_num_threads(1)
        self.shard = ReplayShard(experiment, info)
        self.server: ReplayServer | None = None

    def listen(self, address: tuple[str, int], key: bytes) -> tuple[int, int | None]:
        """Answers workers from now on, if it does not yet.

        Returns:
            The shard's life, another number after it was started again, and its port, or None if the port is in use.
        """
        if self.server is None:
            with suppress(OSError):
                self.server = ReplayServer(self.shard.answer, address, key)
        return self.shard.life, None if self.server is None else self.server.port


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
        self.lives: dict[int, int] = {}  # by shard
        self.calls: dict[int, Any] = {}  # by shard: reference of the answer to the latest `listen`
        self.watched_at = -np.inf

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
        if time.monotonic() - self.watched_at >= WATCH_SECONDS:
            self.watched_at = time.monotonic()
            for number, shard in enumerate(self.shards):
                if number not in self.calls:
                    self.calls[number] = shard.listen.remote((self.host, self.ports[number]), self.key)
        for number, call in list(self.calls.items()):
            if is_ready(call):
                del self.calls[number]
                self._take(number, call)

    def _take(self, number: int, call: Any) -> None:
        try:
            life, port = ray.get(call)
        except ActorDiedError as error:
            raise RunError(f"shard {number} of the replay memory cannot run: {cause_of(error)}") from error
        except RayError:  # it is being started again, or cannot be reached for a moment
            return
        if self.lives.setdefault(number, life) != life:
            self.lives[number] = life
            self.notify(f"warning: shard {number} of the replay memory was started again, and begins empty")
        self.ports[number] = port or self.ports[number]

    def kill(self) -> None:
        """Ends all shards."""
        for shard in self.shards:
            ray.kill(shard)
