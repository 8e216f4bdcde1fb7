"""A parameter server in this process, whose answers come late and in bursts, as over a network."""

from __future__ import annotations

import random
from collections.abc import Sequence

from torch import Tensor

from asyncrl.gorila.exchange import ServerLostError
from asyncrl.gorila.shard import Answer, Push, Shard, ShardState, bounds


class LocalServer:
    def __init__(self, theta: Tensor, shards: Sequence[Shard], seed: int = 0, longest_delay: int = 0) -> None:
        self.parts, self.shards = bounds(len(theta), len(shards)), shards
        self.random, self.longest_delay = random.Random(seed), longest_delay
        for shard, part in zip(shards, self.parts, strict=True):
            shard.restore(ShardState(theta[part].numpy().copy()))

    @property
    def theta(self) -> list[float]:
        return [float(x) for shard in self.shards for x in shard.state().parameters]

    def push(self, values: Tensor | None, learning_rate: float, seen: Sequence[int], own: int) -> LateTrade:
        parts = [None if values is None else values[part].numpy().copy() for part in self.parts]
        versions = seen or [0] * len(parts)
        answers = [
            shard.trade(Push(part, learning_rate, version, own))
            for shard, part, version in zip(self.shards, parts, versions, strict=True)
        ]
        return LateTrade(answers, self.random.randint(0, self.longest_delay))


class LateTrade:
    def __init__(self, given: list[Answer | None], delay: int) -> None:
        self.given, self.delay = given, delay

    def answers(self, timeout: float) -> list[Answer] | None:
        self.delay -= 1
        if self.delay >= 0 and timeout == 0:
            return None
        complete = [answer for answer in self.given if answer is not None]
        if len(complete) < len(self.given):
            raise ServerLostError
        return complete
