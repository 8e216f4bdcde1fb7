"""What the untrained agent does, which is random play or nearly so: the least that a trained agent must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.algorithms.base import Explorer
from asyncrl.envs.make import make_environments
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.types import Decision, Episode, Progress, State, WorkerInfo

ENVIRONMENTS, STEPS = 16, 128
"""Number of environments that are played side by side, and of steps in each."""


@dataclass(frozen=True)
class FirstSteps:
    """What the untrained agent did."""

    actions: NDArray[np.float32]  # [steps, ...] in the agent's own units
    rewards: NDArray[np.float32]  # [steps], unclipped
    episodes: tuple[Episode, ...]  # those that ended


def play_untrained(agent: Agent) -> FirstSteps:
    """Plays with the run's initial parameters, acting as a worker does at the first training step."""
    experiment, info = agent.experiment, agent.info
    network, random = make_network(experiment, info), torch.Generator().manual_seed(experiment.seed)
    collector = Collector(
        make_environments(experiment, ENVIRONMENTS, masked=info.masked),
        network.initial_state(ENVIRONMENTS),
        RolloutRules(STEPS, discount=1.0),
        experiment.seed,
        source=f"{info.id} before training",
    )
    explore: Explorer = experiment.algorithm.explorer(network, WorkerInfo(info, ENVIRONMENTS, 0, 1), random)

    def policy(observations: object, state: State, begins: torch.Tensor) -> Decision:
        outputs, after, _ = network.act(observations, state, begins)
        return Decision(explore(outputs, Progress(0, experiment.steps)), after)

    rollout = collector.collect(policy)
    collector.environments.close()
    valid = rollout.valid
    return FirstSteps(rollout.actions[valid].numpy(), rollout.rewards[valid].numpy(), collector.pop_finished())
