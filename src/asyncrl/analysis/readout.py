"""Reads the outputs of any network, whatever the algorithm: preferences among actions, and the value of a state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Discrete, MultiDiscrete
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.analysis.labels import action_names
from asyncrl.errors import UserError
from asyncrl.functional.masking import FORBIDDEN, is_allowed
from asyncrl.networks.action_values import ActionValueHead
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.rollout_buffer import empty_observations
from asyncrl.tree import tree_map
from asyncrl.types import Outputs

Kind = Literal["probabilities", "action values", "distribution"]


@dataclass(frozen=True)
class Reading:
    """The preferences and values at N observations."""

    preferences: NDArray[np.float32]  # [N, K]: probabilities, action values (the lowest one where an action is masked),
    # or means of a Gaussian
    deviations: NDArray[np.float32] | None  # [N], standard deviation of a Gaussian policy, the same in all dimensions
    values: NDArray[np.float32] | None  # [N]; None if the network has no value output


@dataclass(frozen=True)
class Readout:
    """Reads the outputs of one agent's network.

    The value is the output of a value head, or else made of action values: their mean over a policy, or without one the
    highest of them, the value of acting greedily.
    """

    kind: Kind
    names: tuple[str, ...]  # of the K preferences
    sizes: tuple[int, ...]  # number of preferences for each component of an action; they sum to K
    dueling: bool  # whether the network has separate streams for value and advantage
    has_value: bool

    def policy(self, outputs: Outputs) -> Tensor:
        """The outputs [N, K] that actions are chosen by: logits, advantages or means; differentiable.

        For action values these are Q - mean_a Q: the advantage stream of a dueling network (Wang et al. 2016, eq. 9),
        and in other networks the part of Q that the choice depends on. Where actions are masked, the mean is over the
        allowed ones, and the others keep the lowest number.
        """
        if self.kind == "action values":
            values = outputs["q"].flatten(0, 1)
            return torch.where(is_allowed(values), values - _mean_allowed(values).unsqueeze(-1), FORBIDDEN)
        policy = outputs["policy"].flatten(0, 1)
        return policy[..., :-1] if self.kind == "distribution" else policy

    def preferred(self, outputs: Outputs) -> Tensor:
        """The logit, advantage or largest mean of the preferred action [N]; differentiable.

        For an action with several components, it is the sum over them.
        """
        policy = self.policy(outputs)
        if self.kind == "distribution":
            return policy.gather(-1, policy.detach().abs().argmax(-1, keepdim=True)).squeeze(-1)
        return torch.stack([part.amax(-1) for part in torch.split(policy, list(self.sizes), -1)]).sum(0)

    def value(self, outputs: Outputs) -> Tensor | None:
        """V(s) [N], the value stream of a dueling network, or what action values say; differentiable.

        None if the network has no value output.
        """
        if self.dueling and "value" not in outputs:
            return _mean_allowed(outputs["q"].flatten(0, 1))
        return self._value(outputs) if self.has_value else None

    def _value(self, outputs: Outputs) -> Tensor:
        """V(s), Σ_a π(a) Q(s, a) or max_a Q(s, a) [N]."""
        if "value" in outputs:
            return outputs["value"].flatten()
        values = outputs["q"].flatten(0, 1)
        if self.kind == "probabilities" and len(self.sizes) == 1:
            return (outputs["policy"].flatten(0, 1).softmax(-1) * values).sum(-1)
        return values.amax(-1)

    def read(self, outputs: Outputs) -> Reading:
        """Converts outputs [T, B, ...] to arrays of N = T·B rows."""
        with torch.no_grad():
            values = self._value(outputs) if self.has_value else None
            if self.kind == "action values":
                values_of_actions = outputs["q"].flatten(0, 1)
                lowest = torch.where(is_allowed(values_of_actions), values_of_actions, math.inf).amin(-1, keepdim=True)
                preferences, deviations = values_of_actions.clamp(min=lowest), None
            elif self.kind == "distribution":
                policy = outputs["policy"].flatten(0, 1)
                preferences, deviations = policy[..., :-1], policy[..., -1].sqrt()
            else:
                parts = torch.split(outputs["policy"].flatten(0, 1), list(self.sizes), -1)
                preferences, deviations = torch.cat([part.softmax(-1) for part in parts], -1), None
        return Reading(
            preferences.numpy(),
            None if deviations is None else deviations.numpy(),
            None if values is None else values.numpy(),
        )


def readout_of(agent: Agent) -> Readout:
    """Makes the readout of an agent.

    Raises:
        UserError: Its network has neither a head `policy` nor a head `q`, or their outputs have unknown shapes.
    """
    heads, space = agent.network.heads, agent.info.action_space
    names = action_names(agent.experiment, agent.info)
    kind: Kind
    if "policy" in heads:
        kind = "probabilities" if isinstance(space, Discrete | MultiDiscrete) else "distribution"
    elif "q" in heads:
        kind = "action values"
    else:
        raise UserError(f"cannot read a network with the heads {', '.join(heads)}: it needs a head 'policy' or 'q'")
    sizes = tuple(map(int, space.nvec)) if isinstance(space, MultiDiscrete) else (len(names),)
    head = heads["q"] if kind == "action values" else None
    dueling = isinstance(head, ActionValueHead) and head.value is not None
    readout = Readout(kind, names, sizes, dueling, "value" in heads or "q" in heads)
    _check(readout, agent)
    return readout


def _mean_allowed(values: Tensor) -> Tensor:
    """The mean [N] of action values [N, K] over the allowed actions."""
    allowed = is_allowed(values)
    return torch.where(allowed, values, 0.0).sum(-1) / allowed.sum(-1).clamp(min=1)


def first_outputs(agent: Agent, observations: Any) -> Outputs:
    """The outputs of an agent's network at episodes' first observations.

    Args:
        agent: The agent.
        observations: Arrays [N, ...] of the first observations, or that for each key.
    """
    empty = empty_observations(agent.info.observation_space)
    rows = tree_map(lambda like, array: torch.from_numpy(array.astype(like.dtype))[None], empty, observations)
    count = len(next(iter(observations.values())) if isinstance(observations, Mapping) else observations)
    with torch.no_grad():
        outputs: Outputs = agent.network(
            rows, agent.network.initial_state(count), torch.ones(1, count, dtype=torch.bool)
        )[0]
    return outputs


def _check(readout: Readout, agent: Agent) -> None:
    """Reads the outputs for an observation of zeros.

    Raises:
        UserError: They have other shapes than those of asyncrl's heads.
    """
    outputs = first_outputs(agent, empty_observations(agent.info.observation_space, 1))
    width = len(readout.names) + (readout.kind == "distribution")
    main = outputs["q" if readout.kind == "action values" else "policy"]
    value = outputs.get("value")
    if main.shape != (1, 1, width) or (value is not None and value.shape != (1, 1)):
        raise UserError(f"cannot read a head with outputs of shape {tuple(main.shape[2:])}: expected {width} numbers")
