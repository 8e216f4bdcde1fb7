"""Workers that only act and workers that only learn, with a replay memory in other processes between them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from asyncrl.gorila.replay import Add, AskForRoom, Draw, Drawn, Learned
from asyncrl.gorila.replay_connection import ReplayAddress, ReplayClient
from asyncrl.networks.assemble import Networks
from asyncrl.optim.hogwild import gradients
from asyncrl.runtime.denormals import flushed_denormals
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.worker import Worker, WorkerSetup, Working
from asyncrl.types import Progress, Report, Rollout, WorkerInfo


def is_actor(setup: WorkerSetup) -> bool:
    """Whether a worker of a run with separate roles acts. The first workers of each node do."""
    cluster = setup.experiment.cluster
    return setup.number % (cluster.actors + cluster.learners) < cluster.actors


@dataclass(frozen=True)
class RoleSetup(WorkerSetup):
    """What an actor or a learner is started with."""

    replay: ReplayAddress = field(kw_only=True)

    @property
    def ordinal(self) -> int:
        """Number of the worker among all actors, or among all learners."""
        cluster = self.experiment.cluster
        node, number = divmod(self.number, cluster.actors + cluster.learners)
        if is_actor(self):
            return node * cluster.actors + number
        return node * cluster.learners + number - cluster.actors

    @property
    def worker_info(self) -> WorkerInfo:
        """Of an actor among actors, which share the capacity and spread their exploration."""
        return replace(super().worker_info, number=self.ordinal, workers=self.experiment.acting_workers)

    def make_memory(self) -> RemoteShare:
        """An actor's share of the memory."""
        return RemoteShare(self.replay, self.ordinal)

    def make_worker(self) -> Working:
        """An actor or a learner."""
        return Actor(self) if is_actor(self) else Learner(self)


class RemoteShare:
    """An actor's share of the replay memory, which lies in a shard. Nothing is learned where it is filled.

    Args:
        replay: Where the shards are.
        actor: The actor's number among actors.
    """

    def __init__(self, replay: ReplayAddress, actor: int) -> None:
        self.actor = actor
        self.client = ReplayClient(replay.shards[actor % len(replay.shards)], replay.key)
        self.has_room = True

    def add(self, rollout: Rollout) -> None:
        """Sends a rollout to the shard."""
        self.has_room = self.client.ask(Add(self.actor, replace(rollout, behaviour={}, activations=())))

    def catch_up(self) -> bool:
        """Whether learners have caught up with this actor, so that it may collect another rollout."""
        self.has_room = self.has_room or self.client.ask(AskForRoom(self.actor))
        return self.has_room

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Drawn]:
        """Nothing: learners draw from the shard."""
        return iter(())

    def learned(self, experience: Drawn, feedback: Tensor) -> None:
        """Is not called, because nothing is drawn."""


class Actor(Worker):
    """A worker that acts, and waits while its steps have not been learned from as often as the replay ratio says."""

    memory: RemoteShare
    waiting_since: float | None = None

    def turn(self) -> Report:
        """One rollout, or a moment of waiting.

        Raises:
            RuntimeError: Learners have not caught up for as long as a worker may be silent.
        """
        self.clock.restart()
        has_room = self.memory.catch_up()
        self.clock.lap("other")
        if has_room:
            self.waiting_since = None
            return super().turn()
        now, limit = time.monotonic(), self.setup.experiment.supervision.stall_timeout
        self.waiting_since = self.waiting_since or now
        if now - self.waiting_since > limit:
            raise RuntimeError(f"waited {limit:g} s for learners, which have not learned from its steps")
        return self.store.report()


class RemoteReplay:
    """The whole replay memory as a learner sees it.

    Args:
        replay: Where the shards are.
        first: Number of the shard to begin with.
    """

    def __init__(self, replay: ReplayAddress, first: int) -> None:
        shards = replay.shards[first % len(replay.shards) :] + replay.shards[: first % len(replay.shards)]
        self.clients = [ReplayClient(address, replay.key) for address in shards]
        self.turns = itertools.cycle(self.clients)
        self.drawn_from = self.clients[0]

    def draw(self, progress: Progress) -> Drawn | None:
        """A minibatch of the next shard, or None if none is due there."""
        self.drawn_from = next(self.turns)
        drawn: Drawn | None = self.drawn_from.ask(Draw(progress))
        return drawn

    def learned(self, drawn: Drawn, errors: Tensor) -> None:
        """Tells the shard of the minibatch that was drawn last what the absolute TD error of each item [N] is."""
        self.drawn_from.tell(Learned(drawn.item.places, errors.numpy(), drawn.origin))


class Learner:
    """A worker that learns from minibatches of the replay memory.

    Args:
        setup: What it works on.
    """

    def __init__(self, setup: RoleSetup) -> None:
        self.setup, self.algorithm = setup, setup.experiment.algorithm
        self.clock = PhaseClock(setup.store.pulse(setup.number))
        self.store, self.networks = setup.store.connect(
            setup.experiment, setup.info, setup.number, setup.folder, self.clock
        )
        self.memory = RemoteReplay(setup.replay, setup.ordinal)

    def work(self) -> Iterator[Report]:
        """Learns and reports until the run's steps are done."""
        while not self.store.done:
            yield self.turn()

    def turn(self) -> Report:
        """One update, or a moment of waiting for steps."""
        self.clock.restart()
        drawn = self.memory.draw(self.store.progress)
        self.clock.lap("other")
        if drawn is not None:
            self.store.pull(self.networks)
            with flushed_denormals():
                loss = self.algorithm.loss(self.networks, drawn.item)
                if self.store.push(gradients(loss.total, self.networks.online), loss, drawn.item):
                    self.memory.learned(drawn, loss.feedback)
        return self.store.report()

    def close(self) -> None:
        """Ends its connections."""
        for client in self.memory.clients:
            client.close()
