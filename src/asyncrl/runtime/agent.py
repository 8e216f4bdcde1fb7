"""`Agent`: a trained network that acts and can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment
from asyncrl.envs.actions import action_codec
from asyncrl.envs.masks import joined
from asyncrl.envs.observations import ObservationCodec, observation_codec
from asyncrl.networks.assemble import Network
from asyncrl.runtime.evaluation import evaluate
from asyncrl.runtime.reward_normalizer import normalizing_rule
from asyncrl.runtime.rollout_buffer import RewardRule
from asyncrl.tree import tree_map
from asyncrl.types import ACTION_MASK, OBSERVATION, EnvironmentInfo, Evaluation, Outputs, State


@dataclass(frozen=True, repr=False)
class Agent:
    """A network with all that it needs to act; `asyncrl.load` makes a trained one."""

    experiment: Experiment
    info: EnvironmentInfo
    network: Network
    random: torch.Generator
    warnings: tuple[str, ...] = ()  # why newer checkpoints were not loaded
    steps: int = 0  # global training steps behind its parameters
    return_deviation: float = 1.0  # by which normalised rewards were divided; 1 if they were not normalised

    def __repr__(self) -> str:
        """What the agent is, and what it was trained on, in three lines."""
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        return (
            f"{algorithm_name(self.experiment.algorithm)} agent for {self.info.id} after {self.steps:,} steps\n"
            f"network: {parameters:,} parameters\n"
            f"actions: {self.info.action_space}"
        )

    def predict(
        self, observation: Any, state: State | None = None, deterministic: bool = False, action_mask: Any = None
    ) -> tuple[NDArray[Any], State]:
        """Chooses an action for one observation, or actions for a batch of observations.

        Args:
            observation: One observation as the environment gives it, or a batch [B, ...] as a vector of environments
                gives it; for a Dict space a dictionary of these, for a Tuple space a tuple.
            state: Recurrent state that the previous call returned; None at the start of an episode.
            deterministic: Take the greedy action instead of drawing one.
            action_mask: The allowed actions, as `info["action_mask"]` gives them, or a batch of these. An agent that
                was trained with action masks needs it, unless the observation is a dictionary that holds it.

        Returns:
            The action, or the actions [B, ...], as the environment takes them, and the recurrent state for the next
            call.

        Raises:
            ValueError: The observation does not belong to `info.given_space`, or the mask is missing or wrong.
        """
        batch, single = self.observation_codec.to_agent_batch(self._with_mask(observation, action_mask))
        count = len(next(iter(batch.values())) if isinstance(batch, Mapping) else batch)
        first = torch.zeros(1, count, dtype=torch.bool)
        state = self.network.initial_state(count) if state is None else state
        rows = tree_map(lambda array: torch.from_numpy(array).unsqueeze(0), batch)
        actions, state = self.act(rows, state, first, deterministic)
        codec = action_codec(self.info.action_space)
        chosen = codec.to_environment(actions[0].numpy())
        return (chosen[0] if single else chosen), state

    @property
    def reward_rule(self) -> RewardRule:
        """What the agent learned from instead of a reward; its values are in these units."""
        experiment = self.experiment
        if experiment.normalize_rewards:
            return normalizing_rule(experiment.reward_clip, self.return_deviation)
        return RewardRule(experiment.reward_clip, experiment.reward_scale)

    @cached_property
    def observation_codec(self) -> ObservationCodec:
        """Converts the environment's observations to those that the network takes."""
        return observation_codec(self.info.given_space)

    def _with_mask(self, observation: Any, action_mask: Any) -> Any:
        """Puts the mask where the agent's observations have it."""
        if not self.info.masked:
            if action_mask is not None:
                raise ValueError("this agent was trained without action masks: leave out action_mask")
            return observation
        seen = observation if isinstance(observation, Mapping) else {OBSERVATION: observation}
        mask = seen.get(ACTION_MASK) if action_mask is None else action_mask
        if mask is None:
            raise ValueError('this agent needs to know which actions are allowed: pass action_mask=info["action_mask"]')
        allowed = joined(mask) != 0
        if not allowed.any(-1).all():
            raise ValueError("the action_mask allows no action")
        return {**seen, ACTION_MASK: allowed.astype(np.int8)}

    def act(
        self, observations: Any, state: State, first: torch.Tensor, deterministic: bool
    ) -> tuple[torch.Tensor, State]:
        """Chooses actions along a rollout.

        Args:
            observations: [T, B, ...], or a dictionary of these.
            state: Recurrent state before the first observation, each tensor [B, H].
            first: [T, B] bool, true where an observation is the first of its episode.
            deterministic: Take the greedy action instead of drawing one.

        Returns:
            The agent's actions [T, B, ...], which `ActionCodec.to_environment` converts to the environment's, and the
            recurrent state after the last observation.
        """
        _, actions, state = self.decide(observations, state, first, deterministic)
        return actions, state

    def decide(
        self, observations: Any, state: State, first: torch.Tensor, deterministic: bool
    ) -> tuple[Outputs, torch.Tensor, State]:
        """Does what `act` does, and also returns the heads' outputs [T, B, ...] that the actions were chosen from."""
        algorithm = self.experiment.algorithm
        with torch.no_grad():
            outputs, state = self.network(observations, state, first)
            if deterministic:
                return outputs, algorithm.act_greedily(self.network, outputs), state
            return outputs, algorithm.act(self.network, outputs, self.random), state

    def evaluate(self, episodes: int = 100, deterministic: bool = False, seed: int = 0) -> Evaluation:
        """Plays whole episodes in new environments and returns statistics of their unclipped returns.

        Raises:
            UserError: The environment cannot be made, or has changed since the agent was trained.
        """
        return evaluate(self, episodes, deterministic, seed)
