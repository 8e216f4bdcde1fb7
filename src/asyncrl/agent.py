"""`Agent`: a trained network that acts and can be evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.networks.assemble import Network, make_network
from asyncrl.run_folder import open_run_folder
from asyncrl.runtime.checkpoint import load_newest
from asyncrl.runtime.evaluator import Evaluation, evaluate
from asyncrl.runtime.supervisor import load_parameters
from asyncrl.types import EnvironmentInfo, State


@dataclass(frozen=True)
class Agent:
    """A trained agent: `load(run)` makes one."""

    experiment: Experiment
    info: EnvironmentInfo
    network: Network
    random: torch.Generator
    warnings: tuple[str, ...] = ()  # what was wrong with newer checkpoints than the one in use

    def predict(
        self, observation: Any, state: State | None = None, deterministic: bool = False
    ) -> tuple[NDArray[np.int64], State]:
        """Actions for one observation, or for a batch of them.

        Args:
            observation: One observation of the environment's shape, or a batch [B, ...]. Environments whose
                observations are not arrays give them flattened (`gymnasium.wrappers.FlattenObservation`).
            state: What the last call returned, or None at an episode's start.
            deterministic: Take the most probable action instead of drawing one.

        Returns:
            The action [] or actions [B], and the recurrent state for the next call.

        Raises:
            ValueError: The observation has another shape than the environment's.
        """
        space = self.info.observation_space
        observations = np.asarray(observation, space.dtype)
        single = observations.shape == space.shape
        if observations.shape[-len(space.shape) :] != space.shape or observations.ndim - len(space.shape) > 1:
            raise ValueError(f"observations of shape {space.shape} or {('B', *space.shape)}, not {observations.shape}")
        batch = torch.from_numpy(observations[None] if single else observations)
        count = batch.shape[0]
        first = torch.zeros(1, count, dtype=torch.bool)
        state = self.network.initial_state(count) if state is None else state
        actions, state = self.act(batch.unsqueeze(0), state, first, deterministic)
        chosen = actions[0].numpy() + int(getattr(self.info.action_space, "start", 0))
        return (chosen[0] if single else chosen), state

    def act(
        self, observations: torch.Tensor, state: State, first: torch.Tensor, deterministic: bool
    ) -> tuple[torch.Tensor, State]:
        """Actions [T, B] for observations [T, B, ...], the state before them and first [T, B]; and the state after."""
        algorithm = self.experiment.algorithm
        with torch.no_grad():
            outputs, state = self.network(observations, state, first)
            if deterministic:
                return algorithm.act_greedily(self.network, outputs), state
            return algorithm.act(self.network, outputs, self.random), state

    def evaluate(self, episodes: int = 100, deterministic: bool = False, seed: int = 0) -> Evaluation:
        """Plays whole episodes in fresh environments and sums their unclipped rewards."""
        return evaluate(self, episodes, deterministic, seed)


def load(run: str | Path, seed: int = 0) -> Agent:
    """The agent of a run folder, from its newest whole checkpoint.

    Args:
        run: The folder.
        seed: Of the actions it draws.

    Raises:
        UserError: The folder is not a run, its checkpoints are damaged, or do not fit its settings.
    """
    folder = open_run_folder(Path(run))
    experiment = folder.read_experiment()
    checkpoint, warnings = load_newest(folder.checkpoints)
    info = describe(experiment.environment, experiment.environment_options)
    network = make_network(experiment, info)
    try:
        load_parameters(network, checkpoint, info)
    except UserError as error:
        raise UserError(f"{run}: {error}") from error
    return Agent(experiment, info, network, torch.Generator().manual_seed(seed), tuple(warnings))
