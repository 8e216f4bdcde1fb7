"""Loads the agent of a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.run_folder import open_run_folder
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.checkpoint import CheckpointState, load_chosen, load_parameters
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.reward_normalizer import saved_deviation
from asyncrl.types import EnvironmentInfo


def load(run: str | Path, seed: int = 0, checkpoint: str | int = "last", modules: Sequence[str] = ()) -> Agent:
    """Loads the agent of a run folder.

    No environment is made, so an agent can `predict` where the environment's package is not installed. Checkpoints of
    formats 2 and 3 are the exception: they do not hold the spaces.

    Args:
        run: Run folder.
        seed: Seed for the actions that the agent draws.
        checkpoint: `last` (the newest one that is not damaged), `best` (the highest mean return), or a step.
        modules: Modules of your own that the run's settings may import. Without them loading runs no foreign code.

    Raises:
        UserError: The folder is not a run, or its checkpoints are damaged or do not fit its settings.
    """
    folder = open_run_folder(Path(run))
    experiment = folder.read_experiment(modules)
    chosen, warnings = load_chosen(folder.checkpoints, str(checkpoint))
    info = _environment_of(experiment, chosen.state)
    network = make_network(experiment, info)
    try:
        load_parameters(network, chosen, info)
    except UserError as error:
        raise UserError(f"{run}: {error}") from error
    deviation = saved_deviation(chosen.tensors)
    return Agent(experiment, info, network, _generator(seed), tuple(warnings), chosen.state.steps, deviation)


def untrained(experiment: Experiment, seed: int = 0) -> Agent:
    """Makes the agent of an experiment with its initial parameters.

    Raises:
        UserError: The environment cannot be made, or the network does not fit it.
    """
    info = describe(experiment)
    return Agent(experiment, info, make_network(experiment, info), _generator(seed))


def _environment_of(experiment: Experiment, state: CheckpointState) -> EnvironmentInfo:
    """Returns what the checkpoint says of its environment; only makes the environment if that is not enough.

    Checkpoints of formats 2 and 3 say nothing, and the settings may name another environment if somebody changed them.
    """
    saved = state.environment_info
    if saved is not None and saved.id == experiment.environment.rpartition(":")[2]:
        return saved
    return describe(experiment)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
