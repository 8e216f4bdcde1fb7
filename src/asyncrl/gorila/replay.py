"""The replay memory of a run whose actors and learners are different workers (Nair et al. 2015, Gorila).

A shard is a process that holds the memories of some actors, one for each of them. Actors send it their rollouts,
learners ask it for minibatches and send back errors.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.config import Experiment
from asyncrl.errors import UserError
from asyncrl.memory.replay import Replayed, ReplayMemory
from asyncrl.types import EnvironmentInfo, Progress, Rollout, WorkerInfo

PATIENCE = 0.1
"""How long a shard keeps a learner waiting for a minibatch, or an actor for room, in seconds."""


@dataclass(frozen=True)
class Add:
    """An actor's rollout; the answer says whether the actor may collect another one now."""

    actor: int
    attempt: int  # counted up with each restart of the actor
    number: int  # of the rollout in this attempt: the message may come twice
    rollout: Rollout


@dataclass(frozen=True)
class AskForRoom:
    """An actor's question whether it may collect another rollout; it is answered late if it may not yet."""

    actor: int


@dataclass(frozen=True)
class Draw:
    """A learner's question for a minibatch; the answer is `Drawn`, or None if none is due."""

    progress: Progress
    patience: float  # seconds to wait for one


@dataclass(frozen=True)
class Origin:
    """Where the items of a minibatch were, and when."""

    life: int  # of the shard: another number after it was started again
    actor: int
    removed: int  # items of the actor's memory that had been overwritten


@dataclass(frozen=True)
class Drawn:
    """A minibatch."""

    item: Replayed
    origin: Origin


@dataclass(frozen=True)
class Learned:
    """A learner's new errors of the items of a minibatch."""

    places: NDArray[np.int64]  # [N]
    errors: NDArray[np.float32]  # [N]
    origin: Origin


Message = Add | AskForRoom | Draw | Learned


def actor_info(experiment: Experiment, info: EnvironmentInfo, actor: int) -> WorkerInfo:
    """What the memory and the exploration of an actor are made for.

    Args:
        experiment: Settings of the run.
        info: The environment.
        actor: The actor's number among all actors.
    """
    return WorkerInfo(info, experiment.environment_count, actor, experiment.acting_workers)


class ReplayShard:
    """The memories of some actors.

    The replay ratio holds: learners wait until a minibatch is due, and an actor waits while more than two of its
    rollouts, or one minibatch if that is more, are still to be learned from.

    Args:
        experiment: Settings of the run.
        info: The environment.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo) -> None:
        self.experiment, self.info = experiment, info
        self.memories: dict[int, ReplayMemory] = {}
        self.latest: dict[int, tuple[int, int]] = {}  # attempt and number of each actor's latest rollout
        self.random = torch.Generator().manual_seed(experiment.seed)
        self.changed = threading.Condition()
        self.life = secrets.randbits(62)

    def answer(self, message: Message) -> Any:
        """Does what a worker asks for; several threads may call it.

        Raises:
            UserError: The memory cannot keep such rollouts.
        """
        with self.changed:
            match message:
                case Add():
                    self._add(message)
                    self.changed.notify_all()
                    return self._has_room(message.actor)
                case AskForRoom(actor):
                    return self.changed.wait_for(lambda: self._has_room(actor), PATIENCE)
                case Draw(progress, patience):
                    drawn = self._draw(progress)
                    if drawn is None and patience and self.changed.wait(patience):
                        drawn = self._draw(progress)
                    self.changed.notify_all()
                    return drawn
                case Learned(places, errors, origin):
                    if origin.life == self.life:
                        self._memory(origin.actor).learned_late(places, errors, origin.removed)
        return None

    def _add(self, message: Add) -> None:
        memory, latest = self._memory(message.actor), self.latest.get(message.actor)
        if latest is not None and (message.attempt, message.number) <= latest:
            return  # it is here already, or comes from an actor that was taken for dead
        if memory.steps.written and (latest is None or message.attempt > latest[0]):
            memory.steps.end_episodes()  # the new actor begins new ones
        memory.add(message.rollout)
        self.latest[message.actor] = message.attempt, message.number

    def _memory(self, actor: int) -> ReplayMemory:
        """An actor's memory.

        Raises:
            UserError: The algorithm has another kind of memory.
        """
        if actor not in self.memories:
            memory = self.experiment.algorithm.make_memory(actor_info(self.experiment, self.info, actor))
            if not isinstance(memory, ReplayMemory):
                raise UserError("--actors and --learners need an algorithm whose memory is a ReplayMemory, such as dqn")
            self.memories[actor] = memory
        return self.memories[actor]

    def _has_room(self, actor: int) -> bool:
        memory = self._memory(actor)
        rollout = memory.rollout_length * memory.worker.environments * memory.rules.ratio
        return memory.owed <= max(2 * rollout, memory.minibatch_steps)

    def _draw(self, progress: Progress) -> Drawn | None:
        """A minibatch from the memory that has most steps still to be learned."""
        if not self.memories:
            return None
        actor, memory = max(self.memories.items(), key=lambda each: each[1].owed)
        item = memory.draw_one(self.random, progress)
        return None if item is None else Drawn(item, Origin(self.life, actor, memory.removed))
