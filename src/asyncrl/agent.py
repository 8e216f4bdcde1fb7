"""`Agent`: a trained network that acts and can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Dict, Space
from numpy.typing import NDArray

from asyncrl.config import Experiment
from asyncrl.envs.actions import action_codec
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.networks.assemble import Network
from asyncrl.run_folder import open_run_folder
from asyncrl.runtime.checkpoint import load_chosen, load_parameters
from asyncrl.runtime.evaluation import evaluate
from asyncrl.runtime.networks import make_network
from asyncrl.tree import tree_map
from asyncrl.types import EnvironmentInfo, Evaluation, Outputs, State


@dataclass(frozen=True)
class Agent:
    """A trained agent: `load(run)` makes one."""

    experiment: Experiment
    info: EnvironmentInfo
    network: Network
    random: torch.Generator
    warnings: tuple[str, ...] = ()  # what was wrong with newer checkpoints than the one in use
    steps: int = 0  # of training that it has had

    def predict(
        self, observation: Any, state: State | None = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], State]:
        """Actions for one observation, or for a batch of them.

        Args:
            observation: One observation of `info.observation_space`, or a batch [B, ...]; for a Dict space a
                dictionary of them. Environments whose observations are of another kind give them through
                `asyncrl.envs.observations.ArrayObservations`.
            state: What the last call returned, or None at an episode's start.
            deterministic: Take the best known action instead of drawing one.

        Returns:
            The action or actions [B, ...] as the environment takes them, and the recurrent state for the next call.

        Raises:
            ValueError: The observation has another shape than the environment's.
        """
        batch, single = _batch(self.info.observation_space, observation)
        count = len(next(iter(batch.values())) if isinstance(batch, Mapping) else batch)
        first = torch.zeros(1, count, dtype=torch.bool)
        state = self.network.initial_state(count) if state is None else state
        rows = tree_map(lambda array: torch.from_numpy(array).unsqueeze(0), batch)
        actions, state = self.act(rows, state, first, deterministic)
        codec = action_codec(self.info.action_space)
        chosen = codec.to_environment(actions[0].numpy())
        return (chosen[0] if single else chosen), state

    def act(
        self, observations: Any, state: State, first: torch.Tensor, deterministic: bool
    ) -> tuple[torch.Tensor, State]:
        """The agent's own actions along a rollout, and the recurrent state after it.

        Args:
            observations: [T, B, ...], or that for each key.
            state: Before the first observation, each [B, H].
            first: [T, B] bool, true where an observation is its episode's first.
            deterministic: Take the best known action.

        Returns:
            Actions [T, B, ...] as the network gives them (not yet the environment's), and the state.
        """
        _, actions, state = self.decide(observations, state, first, deterministic)
        return actions, state

    def decide(
        self, observations: Any, state: State, first: torch.Tensor, deterministic: bool
    ) -> tuple[Outputs, torch.Tensor, State]:
        """As `act`, with the heads' outputs [T, B, ...] before the actions that were chosen by them."""
        algorithm = self.experiment.algorithm
        with torch.no_grad():
            outputs, state = self.network(observations, state, first)
            if deterministic:
                return outputs, algorithm.act_greedily(self.network, outputs), state
            return outputs, algorithm.act(self.network, outputs, self.random), state

    def evaluate(self, episodes: int = 100, deterministic: bool = False, seed: int = 0) -> Evaluation:
        """Plays whole episodes in fresh environments and sums their unclipped rewards."""
        return evaluate(self, episodes, deterministic, seed)


def load(run: str | Path, seed: int = 0, checkpoint: str | int = "last", modules: Sequence[str] = ()) -> Agent:
    """The agent of a run folder.

    Args:
        run: The folder.
        seed: Of the actions it draws.
        checkpoint: `last` (the newest whole one), `best` (of the highest mean return), or the step of one.
        modules: Modules of your own that the run's settings may import; without it, loading runs no foreign code.

    Raises:
        UserError: The folder is not a run, its checkpoints are damaged, or do not fit its settings.
    """
    folder = open_run_folder(Path(run))
    experiment = folder.read_experiment(modules)
    chosen, warnings = load_chosen(folder.checkpoints, str(checkpoint))
    agent = untrained(experiment, seed)
    try:
        load_parameters(agent.network, chosen, agent.info)
    except UserError as error:
        raise UserError(f"{run}: {error}") from error
    return replace(agent, warnings=tuple(warnings), steps=chosen.state.steps)


def untrained(experiment: Experiment, seed: int = 0) -> Agent:
    """The agent of an experiment before it has learned anything.

    Raises:
        UserError: The environment cannot be made, or the network does not fit it.
    """
    info = describe(experiment)
    return Agent(experiment, info, make_network(experiment, info), torch.Generator().manual_seed(seed))


def _batch(space: Space[Any], observation: Any) -> tuple[Any, bool]:
    """Observations as a batch [B, ...], and whether it was a single one."""
    if isinstance(space, Dict):
        if not isinstance(observation, Mapping) or set(space.spaces) - set(observation):
            raise ValueError(f"observations are dictionaries with the keys {', '.join(space.spaces)}")
        parts = {key: _batch(part, observation[key]) for key, part in space.spaces.items()}
        return {key: rows for key, (rows, _) in parts.items()}, all(single for _, single in parts.values())
    shape = space.shape or ()
    array = np.asarray(observation, space.dtype)
    if array.shape == shape:
        return array[None], True
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        raise ValueError(f"observations of shape {shape} or {('B', *shape)}, not {array.shape}")
    return array, False
