"""Torso, core and heads put together, and their parameters laid out as one flat vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from asyncrl.config import Experiment, NetworkSettings
from asyncrl.networks.heads import HeadFactory, PolicyHead
from asyncrl.networks.initialization import orthogonal
from asyncrl.networks.recurrent import make_core
from asyncrl.networks.torso import make_torso
from asyncrl.types import EnvironmentInfo, State


class Network(nn.Module):
    """Torso → core → heads. Acting is a rollout of one step, so acting and learning share every line."""

    def __init__(self, space: Box, settings: NetworkSettings, heads: Mapping[str, HeadFactory]) -> None:
        super().__init__()
        self.torso = make_torso(space, settings)
        self.core = make_core(settings.memory, int(self.torso.output_size), settings.memory_size)  # type: ignore[arg-type]
        self.heads = nn.ModuleDict({name: make(self.core.output_size) for name, make in heads.items()})

    @property
    def policy(self) -> PolicyHead:
        """The head named `policy`."""
        return cast(PolicyHead, self.heads["policy"])

    def initial_state(self, environments: int) -> State:
        """The recurrent state at an episode's start, each tensor [B, H]."""
        return self.core.initial_state(environments)

    def forward(self, observations: Tensor, state: State, first: Tensor) -> tuple[dict[str, Tensor], State]:
        """Heads along a rollout.

        Args:
            observations: [T, B, ...].
            state: Before the first observation, each [B, H].
            first: [T, B] bool, true where an observation is its episode's first: the state is reset before it.

        Returns:
            Each head's output [T, B, ...], and the state after the last observation.
        """
        features = self.torso(observations.flatten(0, 1)).unflatten(0, first.shape)
        features, state = self.core(features, state, first)
        return {name: head(features) for name, head in self.heads.items()}, state


def make_network(experiment: Experiment, info: EnvironmentInfo) -> Network:
    """The experiment's network, its parameters drawn from the experiment's seed; the global random state is kept.

    `initialization: torch` is Torch's default, uniform in ±1/√fan_in, which the 2016 paper used.

    Raises:
        UserError: The algorithm or the torso does not fit the environment.
    """
    heads = experiment.algorithm.heads(info.action_space)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        network = Network(info.observation_space, experiment.network, heads)
        if experiment.network.initialization == "orthogonal":
            orthogonal(network)
    return network


def flatten_parameters(network: nn.Module) -> Tensor:
    """Moves all parameters into one flat float32 vector, of which they become views, and returns it [P]."""
    parameters = list(network.parameters())
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters]).to(torch.float32)
    offset = 0
    for parameter in parameters:
        parameter.data = flat[offset : offset + parameter.numel()].view(parameter.shape)
        offset += parameter.numel()
    return flat
