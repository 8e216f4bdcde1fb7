"""Workers that only act and workers that only learn, with a replay memory in other processes between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from asyncrl.gorila.replay import PATIENCE, Add, AskForRoom, Draw, Drawn, Learned, actor_info
from asyncrl.gorila.replay_connection import ReplayAddress, ReplayClient
from asyncrl.networks.assemble import Networks
from asyncrl.optim.hogwild import gradients
from asyncrl.runtime.denormals import flushed_denormals
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.worker import Worker, WorkerSetup, Working
from asyncrl.types import Progress, Report, Rollout, WorkerInfo


@dataclass(frozen=True)
class RoleSetup(WorkerSetup):
    """What an actor or a learner is started with."""

    replay: ReplayAddress = field(kw_only=True)

    @property
    def ordinal(self) -> int:
        """Number of the worker among all actors, or among all learners."""
        cluster = self.experiment.cluster
        node, number = divmod(self.number, cluster.actors + cluster.learners)
        if self.experiment.role_of(self.number) == "actor":
            return node * cluster.actors + number
        return node * cluster.learners + number - cluster.actors

    @property
    def worker_info(self) -> WorkerInfo:
        """What an actor's memory and its exploration are made for."""
        return actor_info(self.experiment, self.info, self.ordinal)

    def make_memory(self) -> RemoteShare:
        """An actor's share of the memory."""
        return RemoteShare(self.replay, self.ordinal, self.attempt)

    def make_worker(self) -> Working:
        """An actor or a learner."""
        return Actor(self) if self.experiment.role_of(self.number) == "actor" else Learner(self)


class RemoteShare:
    """An actor's share of the replay memory, which lies in a shard. Nothing is learned where it is filled.

    Args:
        replay: Where the shards are.
        actor: The actor's number among actors.
        attempt: How often the actor was restarted.
    """

    def __init__(self, replay: ReplayAddress, actor: int, attempt: int) -> None:
        self.actor, self.attempt = actor, attempt
        self.client = ReplayClient(replay.shards[actor % len(replay.shards)], replay.key)
        self.has_room, self.rollouts = True, 0

    def add(self, rollout: Rollout) -> None:
        """Sends a rollout to the shard."""
        self.rollouts += 1
        sent = replace(rollout, behaviour={}, activations=())
        self.has_room = self.client.ask(Add(self.actor, self.attempt, self.rollouts, sent))

    def wait_for_room(self) -> bool:
        """Waits a moment for learners to catch up, and says whether the actor may collect another rollout."""
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

    def turn(self) -> Report:
        """One rollout, or a moment of waiting."""
        self.clock.restart()
        has_room = self.memory.wait_for_room()
        self.clock.lap("other")
        return super().turn() if has_room else self.store.report()

    def close(self) -> None:
        """Closes its environments and its connection."""
        super().close()
        self.memory.client.close()


class RemoteReplay:
    """The whole replay memory as a learner sees it.

    Args:
        replay: Where the shards are.
        first: Number of the shard to begin with.
    """

    def __init__(self, replay: ReplayAddress, first: int) -> None:
        self.clients = deque(ReplayClient(address, replay.key) for address in replay.shards)
        self.clients.rotate(-first)

    def draw(self, progress: Progress) -> Drawn | None:
        """A minibatch of the next shard that has one, or None if none has one after a moment of waiting."""
        for patience in (*[0.0] * (len(self.clients) - 1), PATIENCE):
            self.clients.rotate(-1)
            drawn: Drawn | None = self.clients[0].ask(Draw(progress, patience))
            if drawn is not None:
                return drawn
        return None

    def learned(self, drawn: Drawn, errors: Tensor) -> None:
        """Tells the shard of the minibatch that was drawn last what the absolute TD error of each item [N] is."""
        self.clients[0].ask(Learned(drawn.item.places, errors.numpy(), drawn.origin))


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
