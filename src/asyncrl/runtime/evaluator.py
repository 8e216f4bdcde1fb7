"""Plays episodes with a trained agent and sums up their returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.make import make_environments
from asyncrl.envs.spaces import check_spaces
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.types import Decision, Episode

if TYPE_CHECKING:
    from asyncrl.runtime.agent import Agent

ENVIRONMENTS = 16
ROLLOUT = 32


@dataclass(frozen=True)
class Evaluation:
    """Statistics of the undiscounted, unclipped returns of whole episodes; lengths in steps."""

    episodes: int
    return_mean: float
    return_std: float
    return_min: float
    return_max: float
    length_mean: float

    def to_dict(self) -> dict[str, float]:
        """The same as plain data."""
        return asdict(self)


def evaluate(
    agent: Agent, episodes: int, deterministic: bool, seed: int, pulse: NDArray[np.int64] | None = None
) -> Evaluation:
    """Plays `episodes` whole episodes in up to 16 environments at once.

    Each environment plays its share and no more: taking the first to finish would prefer short episodes.

    Args:
        agent: Who plays.
        episodes: How many.
        deterministic: Take the best known actions.
        seed: Of environments and actions.
        pulse: A number [1] counted up as a sign of life.
    """
    count = min(episodes, ENVIRONMENTS)
    share = [episodes // count + (number < episodes % count) for number in range(count)]
    experiment = agent.experiment
    agent.random.manual_seed(seed)
    environments = make_environments(experiment, count)
    check_spaces(environments, agent.info)
    collector = Collector(
        environments,
        agent.network.initial_state(count),
        RolloutRules(ROLLOUT, experiment.algorithm.discount),
        seed,
        source=f"{agent.info.id} in evaluation",
        clock=PhaseClock(pulse),
    )
    played: list[list[Episode]] = [[] for _ in range(count)]
    while any(len(done) < wanted for done, wanted in zip(played, share, strict=True)):
        collector.collect(
            lambda observations, state, first: Decision(*agent.act(observations, state, first, deterministic))
        )
        for episode in collector.pop_finished():
            played[episode.environment].append(episode)
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
    )
