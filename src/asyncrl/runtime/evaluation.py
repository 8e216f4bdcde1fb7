"""Evaluates an agent: plays whole episodes and computes statistics of their returns."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

from asyncrl.config import Experiment
from asyncrl.envs.make import make_environments, steps_many_at_once
from asyncrl.envs.spaces import check_spaces
from asyncrl.networks.assemble import Network
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.types import Decision, EnvironmentInfo, Episode, Evaluation, State

FEW, MANY = 16, 128
"""Most environments to play at the same time. There are many where stepping many costs little more than one."""
ROLLOUT = 32
LONGEST_EPISODE = 30_000
"""Most steps of an episode, so that an evaluation ends even if the episodes do not. Atari games, which have the longest
time limit in common use, end after 27,000 steps of 4 frames."""


class Player(Protocol):
    """What `evaluate` needs of an agent."""

    @property
    def experiment(self) -> Experiment:
        """Settings of the agent's run."""
        ...

    @property
    def info(self) -> EnvironmentInfo:
        """The agent's environment."""
        ...

    @property
    def network(self) -> Network:
        """The agent's network."""
        ...

    @property
    def random(self) -> Generator:
        """Generator from which the agent draws its actions."""
        ...

    def act(self, observations: Any, state: State, first: Tensor, deterministic: bool) -> tuple[Tensor, State]:
        """Returns actions [T, B, ...] and the next recurrent state for observations [T, B, ...]."""
        ...


def evaluate(
    player: Player, episodes: int, deterministic: bool, seed: int, pulse: NDArray[np.int64] | None = None
) -> Evaluation:
    """Plays `episodes` whole episodes in several environments at once.

    Each environment plays a fixed share of the episodes. Taking the first episodes to finish would prefer short ones.
    An episode that has not ended after `LONGEST_EPISODE` steps counts with its return so far, and its environment plays
    no further one.

    Args:
        player: Agent to evaluate.
        episodes: Number of episodes.
        deterministic: Take the best known actions instead of drawing them.
        seed: Seed of environments and actions.
        pulse: Heartbeat [1], counted up while episodes are played.
    """
    experiment = player.experiment
    count = min(episodes, MANY if steps_many_at_once(experiment) else FEW)
    share = [episodes // count + (number < episodes % count) for number in range(count)]
    player.random.manual_seed(seed)
    environments = make_environments(experiment, count, masked=player.info.masked)
    check_spaces(environments, player.info)
    collector = Collector(
        environments,
        player.network.initial_state(count),
        RolloutRules(ROLLOUT, experiment.algorithm.discount),
        seed,
        source=f"{player.info.id} in evaluation",
        clock=PhaseClock(pulse),
    )
    played: list[list[Episode]] = [[] for _ in range(count)]
    unfinished = 0
    while any(len(done) < wanted for done, wanted in zip(played, share, strict=True)):
        collector.collect(
            lambda observations, state, first: Decision(*player.act(observations, state, first, deterministic))
        )
        for episode in collector.pop_finished():
            played[episode.environment].append(episode)
        for episode in collector.running():
            number = episode.environment
            if episode.length >= LONGEST_EPISODE and len(played[number]) < share[number]:
                played[number].append(episode)
                share[number] = len(played[number])
                unfinished += 1
    environments.close()
    kept = [episode for done, wanted in zip(played, share, strict=True) for episode in done[:wanted]]
    returns = np.array([episode.total_reward for episode in kept])
    return Evaluation(
        episodes=len(kept),
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        return_min=float(returns.min()),
        return_max=float(returns.max()),
        length_mean=float(np.mean([episode.length for episode in kept])),
        unfinished=unfinished,
    )
