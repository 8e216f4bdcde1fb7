"""Torso, core and heads put together, and their parameters laid out as one flat vector."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from asyncrl.errors import UserError
from asyncrl.networks.convolution import Layers
from asyncrl.networks.heads import Head
from asyncrl.networks.masks import split_mask, unmasked_space
from asyncrl.networks.normalization import Normalizer
from asyncrl.networks.recurrent import make_core
from asyncrl.networks.side_by_side import SideBySide
from asyncrl.networks.torso import DictTorso, ImageTorso, make_torso
from asyncrl.settings import NetworkSettings
from asyncrl.tree import pack, tree_map
from asyncrl.types import Activations, Rollout, State


class Body(nn.Module):
    """Torso → core: all that heads share. Several torsos lie side by side."""

    def __init__(self, space: Space[Any], settings: NetworkSettings, torsos: int = 1) -> None:
        super().__init__()
        make = partial(make_torso, space, settings)
        self.torso = make() if torsos == 1 else SideBySide(make, torsos)
        size = int(self.torso.output_size)  # type: ignore[arg-type]
        self.core = make_core(settings.memory, size, settings.memory_size)
        self.unchanged = self.torso.unchanged if isinstance(self.torso, DictTorso) else 0  # features for the core alone
        self.sizes = {"torso": size - self.unchanged, "core": self.core.output_size}  # of what heads are fed

    def activations(self, observations: Any) -> Layers:
        """What the layers of compiled torsos give for observations [N, ...]; empty for other torsos."""
        return self.torso.activations(observations) if isinstance(self.torso, ImageTorso | DictTorso) else ()

    def forward(
        self, observations: Any, state: State, first: Tensor, known: Sequence[Layers] = ()
    ) -> tuple[dict[str, Tensor], State]:
        """Observations [T·B, ...] and first [T, B] give the features [T, B, F] of torso and core, and the state."""
        given = (known,) if any(known) else ()
        torso = self.torso(observations, *given).unflatten(0, first.shape)
        core, state = self.core(torso, state, first)
        return {"torso": torso[..., self.unchanged :], "core": core}, state

    def see(self, observations: Any) -> Tensor:
        """Observations [N, ...] give the features [N, F] of the torso that heads are fed."""
        features: Tensor = self.torso(observations)
        return features[..., self.unchanged :]


class Network(nn.Module):
    """Normaliser → torso → core → heads. Acting is a rollout of one step, so acting and learning share every line.

    With `settings.separate` each head has a torso and a core of its own, and so has a head that asks for several
    torsos. A mask of actions in the observations goes to the heads that are masked, past the torso. Auxiliary heads are
    computed only where they are asked for by name.

    Raises:
        UserError: Observations hold a mask and no head is masked, a head cannot have a recurrent core, or an auxiliary
            head would have a torso of its own.
    """

    def __init__(self, space: Space[Any], settings: NetworkSettings, heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.masked_heads = {name for name, head in heads.items() if head.masked}
        seen = unmasked_space(space)
        if seen is not space and not self.masked_heads:
            raise UserError(
                "the environment gives action masks, but no head of the algorithm is masked: see Head.masked"
            )
        if settings.memory != "none" and any(head.stateless for head in heads.values()):
            raise UserError(f"this algorithm does not learn recurrent networks: leave out --memory {settings.memory}")
        if settings.separate and any(head.auxiliary for head in heads.values()):
            raise UserError(
                "auxiliary tasks teach the policy and the value through the network that they share: leave out "
                "--separate (or add --no-separate)"
            )
        normalizer = Normalizer(seen)
        self.normalizer = normalizer if settings.normalize_observations and normalizer.size else None
        apart = [name for name, head in heads.items() if settings.separate or head.torsos > 1]
        torsos = [heads[name].torsos for name in apart] + [1] * (len(apart) < len(heads))
        self.bodies = nn.ModuleList(Body(seen, settings, count) for count in torsos)
        self.heads = nn.ModuleDict()
        self.fed_by = {name: head.fed_by for name, head in heads.items()}
        self.main_heads = [name for name, head in heads.items() if not head.auxiliary]
        self.acting_heads = [name for name in self.main_heads if heads[name].acting]
        self.body_of: dict[str, int] = {}
        for name, head in heads.items():
            self.body_of[name] = apart.index(name) if name in apart else len(apart)
            feeding: Any = self.bodies[self.body_of[name]]
            self.heads[name] = head.make(feeding.sizes[head.fed_by])
        widths = [len(body.core.initial_state(1)) for body in self.bodies]  # type: ignore[operator,union-attr]
        self.state_parts = [
            slice(end - width, end) for width, end in zip(widths, itertools.accumulate(widths), strict=True)
        ]
        self.has_compiled_torso = any(isinstance(module, ImageTorso) for module in self.bodies.modules())
        self.all_parameters = tuple(self.parameters())
        self.flat: Tensor | None = None  # all parameters [P], once `flatten_parameters` has laid them out

    def initial_state(self, environments: int) -> State:
        """The recurrent state at an episode's start, each tensor [B, H]; the bodies' one after another."""
        return tuple(tensor for body in self.bodies for tensor in body.core.initial_state(environments))  # type: ignore[operator,union-attr]

    @property
    def version(self) -> int:
        """A number that changes whenever parameters are changed in place."""
        vectors = self.all_parameters if self.flat is None else (*self.all_parameters, self.flat)
        return sum(vector._version for vector in vectors)

    def act(
        self, observations: Any, state: State, first: Tensor
    ) -> tuple[dict[str, Tensor], State, Activations | None]:
        """One step of acting: only the heads that acting needs, and no gradient.

        Args:
            observations: [1, B, ...], or that for each key.
            state: Before the observations, each [B, H].
            first: [1, B] bool, true where an observation is its episode's first.

        Returns:
            The heads' outputs [1, B, ...], the next state, and what `unroll` need not compute again.
        """
        with torch.no_grad():
            activations = None
            if self.has_compiled_torso:
                flat = tree_map(lambda rows: rows.flatten(0, 1), split_mask(observations)[0])
                layers = tuple(body.activations(flat) for body in self.bodies)  # type: ignore[operator]
                activations = Activations(self.version, layers)
            known = () if activations is None else (activations,)
            outputs, state = self._forward(observations, state, first, self.acting_heads, known)
        return outputs, state, activations

    def unroll(self, rollout: Rollout, final: bool = True, heads: Collection[str] | None = None) -> dict[str, Tensor]:
        """Heads along a rollout.

        What acting computed is used again where the parameters are still the same; the result does not depend on it.

        Args:
            rollout: T steps of B environments.
            final: Include the observation after the last step.
            heads: Names of the heads; by default all that are not auxiliary.

        Returns:
            Each head's output [T+1, B, ...], or [T, B, ...] without the final observation.
        """
        rows = None if final else -1
        observations = tree_map(lambda every: every[:rows], rollout.observations)
        wanted = self.main_heads if heads is None else heads
        outputs, _ = self._forward(observations, rollout.state, rollout.first[:rows], wanted, rollout.activations)
        return outputs

    def see(self, observations: Any, heads: Collection[str]) -> dict[str, Tensor]:
        """Heads that are fed by the torso, for which no recurrent state is needed.

        Args:
            observations: [T, B, ...], or that for each key.
            heads: Names of the heads. They are not masked, and share a torso.

        Returns:
            Each head's output [T, B, ...].
        """
        flat, _ = self._prepare(observations)
        (body,) = {self.body_of[name] for name in heads}
        features = self.bodies[body].see(flat)  # type: ignore[operator]
        time = len(next(iter(pack("", observations).values())))
        return {name: self.heads[name](features.unflatten(0, (time, -1))) for name in heads}

    def forward(
        self, observations: Any, state: State, first: Tensor, heads: Collection[str] | None = None
    ) -> tuple[dict[str, Tensor], State]:
        """Heads along a sequence of observations.

        Args:
            observations: [T, B, ...], or that for each key.
            state: Before the first observation, each [B, H].
            first: [T, B] bool, true where an observation is its episode's first: the state is reset before it.
            heads: Names of the heads; None for all that are not auxiliary.

        Returns:
            The output [T, B, ...] of each head, and the state after the last observation.
        """
        return self._forward(observations, state, first, self.main_heads if heads is None else heads)

    def _forward(
        self,
        observations: Any,
        state: State,
        first: Tensor,
        heads: Collection[str],
        known: Sequence[Activations] = (),
    ) -> tuple[dict[str, Tensor], State]:
        flat, mask = self._prepare(observations)
        version = self.version if known else 0
        steps = list(itertools.takewhile(lambda step: step.version == version, known))
        passed = [
            body(flat, state[part], first, [step.bodies[number] for step in steps])
            for number, (body, part) in enumerate(zip(self.bodies, self.state_parts, strict=True))
        ]
        outputs = {}
        for name in heads:
            features = passed[self.body_of[name]][0][self.fed_by[name]]
            head = self.heads[name]
            outputs[name] = head(features, mask) if name in self.masked_heads else head(features)
        return outputs, tuple(tensor for _, after in passed for tensor in after)

    def _prepare(self, observations: Any) -> tuple[Any, Tensor | None]:
        """Observations [T, B, ...] as torsos take them, normalised [T·B, ...], and the mask [T, B, A]."""
        seen, mask = split_mask(observations)
        flat = tree_map(lambda rows: rows.flatten(0, 1), seen)
        return flat if self.normalizer is None else self.normalizer(flat), mask


@dataclass(frozen=True, slots=True)
class Networks:
    """What a worker learns with."""

    online: Network  # θ', the worker's own copy of the shared parameters
    target: Network | None = None  # θ⁻, if the algorithm has a target network


def flatten_parameters(network: Network, into: Tensor | None = None) -> Tensor:
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
    network.flat = into
    return into
