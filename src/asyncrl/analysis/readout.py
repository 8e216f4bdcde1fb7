"""What a network's heads say, whatever the algorithm: preferences among actions, and the value of a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from gymnasium.spaces import Discrete, MultiDiscrete
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.envs.meanings import action_names
from asyncrl.errors import UserError
from asyncrl.networks.heads import ActionValueHead
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.rollout_buffer import empty_observations
from asyncrl.tree import tree_map
from asyncrl.types import Outputs

Kind = Literal["probabilities", "action values", "distribution"]


@dataclass(frozen=True)
class Reading:
    """What was said of N observations."""

    preferences: NDArray[np.float32]  # [N, K]: probabilities, action values, or means
    deviations: NDArray[np.float32] | None  # [N], of a Gaussian policy, equal in all dimensions
    values: NDArray[np.float32] | None  # [N]


@dataclass(frozen=True)
class Readout:
    """Reads the outputs of one agent's network.

    The value is that of a value head, or else the highest action value: what acting greedily is thought to be worth.
    """

    kind: Kind
    names: tuple[str, ...]  # of the K preferences
    sizes: tuple[int, ...]  # of the groups among them that sum to one, or hold one choice: K in all
    dueling: bool  # whether value and advantage are streams of their own
    has_value: bool

    def policy(self, outputs: Outputs) -> Tensor:
        """What actions are chosen by [N, K]: logits, advantages or means; differentiable.

        Of action values the mean is taken off: Q - mean_a Q is the advantage stream of a dueling network
        (Wang et al. 2016, eq. 9), and of others what matters for the choice.
        """
        if self.kind == "action values":
            values = outputs["q"].flatten(0, 1)
            return values - values.mean(-1, keepdim=True)
        policy = outputs["policy"].flatten(0, 1)
        return policy[..., :-1] if self.kind == "distribution" else policy

    def preferred(self, outputs: Outputs) -> Tensor:
        """What speaks for the preferred action [N]: its logit, advantage or largest mean; differentiable.

        Of an action with several components the sum over them.
        """
        policy = self.policy(outputs)
        if self.kind == "distribution":
            return policy.gather(-1, policy.detach().abs().argmax(-1, keepdim=True)).squeeze(-1)
        return torch.stack([part.amax(-1) for part in torch.split(policy, list(self.sizes), -1)]).sum(0)

    def value(self, outputs: Outputs) -> Tensor | None:
        """V(s) [N]; of a dueling network its value stream, of another Q network max_a Q; differentiable.

        None if the network says nothing of values.
        """
        if "value" in outputs:
            return outputs["value"].flatten()
        if not self.has_value:
            return None
        values = outputs["q"].flatten(0, 1)
        return values.mean(-1) if self.dueling else values.amax(-1)

    def read(self, outputs: Outputs) -> Reading:
        """Outputs [T, B, ...] as plain arrays of N = T·B rows."""
        with torch.no_grad():
            values = None
            if self.has_value:
                values = outputs["value"].flatten() if "value" in outputs else outputs["q"].flatten(0, 1).amax(-1)
            if self.kind == "action values":
                preferences, deviations = outputs["q"].flatten(0, 1), None
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
    """The readout of an agent.

    Raises:
        UserError: Its network has neither a head `policy` nor a head `q`, or its heads give something else.
    """
    heads, space = agent.network.heads, agent.info.action_space
    names = action_names(agent.experiment, agent.info)
    kind: Kind
    if "policy" in heads:
        kind = "probabilities" if isinstance(space, Discrete | MultiDiscrete) else "distribution"
    elif "q" in heads:
        kind = "action values"
    else:
        raise UserError(f"nothing is known of a network with the heads {', '.join(heads)}: it needs 'policy' or 'q'")
    sizes = tuple(map(int, space.nvec)) if isinstance(space, MultiDiscrete) else (len(names),)
    head = heads["q"] if kind == "action values" else None
    dueling = isinstance(head, ActionValueHead) and head.value is not None
    readout = Readout(kind, names, sizes, dueling, "value" in heads or "q" in heads)
    _check(readout, agent)
    return readout


def _check(readout: Readout, agent: Agent) -> None:
    """Reads the outputs for one observation of nothing.

    Raises:
        UserError: They have other shapes than the heads of asyncrl.
    """
    rows = tree_map(torch.from_numpy, empty_observations(agent.info.observation_space, 1, 1))
    with torch.no_grad():
        outputs, _ = agent.network(rows, agent.network.initial_state(1), torch.ones(1, 1, dtype=torch.bool))
    width = len(readout.names) + (readout.kind == "distribution")
    main = outputs["q" if readout.kind == "action values" else "policy"]
    value = outputs.get("value")
    if main.shape != (1, 1, width) or (value is not None and value.shape != (1, 1)):
        raise UserError(f"nothing is known of a head that gives {tuple(main.shape[2:])} numbers for {width} actions")
