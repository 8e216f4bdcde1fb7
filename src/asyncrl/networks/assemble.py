"""Torso, core and heads put together, and their parameters laid out as one flat vector."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from asyncrl.networks.convolution import Activations
from asyncrl.networks.heads import HeadFactory
from asyncrl.networks.normalization import Normalizer
from asyncrl.networks.recurrent import make_core
from asyncrl.networks.torso import ImageTorso, make_torso
from asyncrl.settings import NetworkSettings
from asyncrl.tree import tree_map
from asyncrl.types import State


class Body(nn.Module):
    """Torso → core: all that heads share."""

    def __init__(self, space: Space[Any], settings: NetworkSettings) -> None:
        super().__init__()
        self.torso = make_torso(space, settings)
        self.core = make_core(settings.memory, int(self.torso.output_size), settings.memory_size)  # type: ignore[arg-type]

    def activations(self, observations: Any) -> Activations:
        """Of a torso that keeps them, for observations [N, ...]."""
        return self.torso.activations(observations) if isinstance(self.torso, ImageTorso) else ()

    def forward(
        self, observations: Any, state: State, first: Tensor, known: Sequence[Activations] = ()
    ) -> tuple[Tensor, State]:
        """Observations [T·B, ...] and first [T, B] give features [T, B, F] and the next state."""
        given = (known,) if any(known) else ()
        features, state = self.core(self.torso(observations, *given).unflatten(0, first.shape), state, first)
        return features, state


class Network(nn.Module):
    """Normaliser → torso → core → heads. Acting is a rollout of one step, so acting and learning share every line.

    With `settings.separate` each head has a torso and a core of its own.
    """

    def __init__(self, space: Space[Any], settings: NetworkSettings, heads: Mapping[str, HeadFactory]) -> None:
        super().__init__()
        normalizer = Normalizer(space)
        self.normalizer = normalizer if settings.normalize_observations and normalizer.size else None
        self.bodies = nn.ModuleList(Body(space, settings) for _ in (heads if settings.separate else [None]))
        self.heads = nn.ModuleDict()
        self.body_of: dict[str, int] = {}
        for number, (name, make) in enumerate(heads.items()):
            self.body_of[name] = number if settings.separate else 0
            self.heads[name] = make(self.bodies[self.body_of[name]].core.output_size)  # type: ignore[arg-type,union-attr]
        widths = [len(body.core.initial_state(1)) for body in self.bodies]  # type: ignore[operator,union-attr]
        self.state_parts = [
            slice(end - width, end) for width, end in zip(widths, itertools.accumulate(widths), strict=True)
        ]

    def initial_state(self, environments: int) -> State:
        """The recurrent state at an episode's start, each tensor [B, H]; the bodies' one after another."""
        return tuple(tensor for body in self.bodies for tensor in body.core.initial_state(environments))  # type: ignore[operator,union-attr]

    def activations(self, observations: Any) -> tuple[Activations, ...]:
        """What the bodies' torsos compute of observations [T, B, ...]: `forward` can be given it."""
        if not any(isinstance(body.torso, ImageTorso) for body in self.bodies):
            return ((),) * len(self.bodies)
        flat = tree_map(lambda rows: rows.flatten(0, 1), observations)
        return tuple(body.activations(flat) for body in self.bodies)  # type: ignore[operator]

    def forward(
        self, observations: Any, state: State, first: Tensor, known: Sequence[tuple[Activations, ...]] = ()
    ) -> tuple[dict[str, Tensor], State]:
        """Heads along a rollout.

        Args:
            observations: [T, B, ...], or that for each key.
            state: Before the first observation, each [B, H].
            first: [T, B] bool, true where an observation is its episode's first: the state is reset before it.
            known: Activations of the first observations, one item for each step, computed with the present parameters.

        Returns:
            Each head's output [T, B, ...], and the state after the last observation.
        """
        flat = tree_map(lambda rows: rows.flatten(0, 1), observations)
        if self.normalizer is not None:
            flat = self.normalizer(flat)
        passed = [
            body(flat, state[part], first, [step[number] for step in known])
            for number, (body, part) in enumerate(zip(self.bodies, self.state_parts, strict=True))
        ]
        outputs = {name: head(passed[self.body_of[name]][0]) for name, head in self.heads.items()}
        return outputs, tuple(tensor for _, after in passed for tensor in after)


def flatten_parameters(network: nn.Module, into: Tensor | None = None) -> Tensor:
    """Makes all parameters views of one flat float32 vector [P] and returns it.

    Args:
        network: Whose parameters.
        into: A vector [P] whose numbers they take on; by default a new one with their present numbers.
    """
    parameters = list(network.parameters())
    if into is None:
        into = torch.cat([parameter.detach().reshape(-1) for parameter in parameters]).to(torch.float32)
    offset = 0
    for parameter in parameters:
        parameter.data = into[offset : offset + parameter.numel()].view(parameter.shape)
        offset += parameter.numel()
    return into
