"""Heads of action values: of one network for all actions, or of a network for each of them."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium.spaces import Discrete, Space
from torch import Tensor, nn

from asyncrl.errors import UserError
from asyncrl.functional.masking import masked
from asyncrl.networks.heads import Head, Output


class ActionValueHead(nn.Module):
    """Action values [..., A]; dueling: Q = V + A - mean_a A (Wang et al. 2016, eq. 9)."""

    def __init__(self, features: int, actions: int, dueling: bool) -> None:
        super().__init__()
        self.advantage = Output(features, actions)
        self.value = Output(features, 1) if dueling else None

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features [..., F] give Q(s, ·) [..., A]. Forbidden actions count in the mean of the advantages."""
        advantage: Tensor = self.advantage(features)
        if self.value is None:
            return masked(advantage, mask)
        value: Tensor = self.value(features)
        return masked(value + advantage - advantage.mean(-1, keepdim=True), mask)


class SeparateActionValueHead(nn.Module):
    """Action values [..., A], each a linear function of the features of its own torso (Lin 1993)."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        self.values = nn.ModuleList(Output(features // actions, 1) for _ in range(actions))

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features [..., A · F] give Q(s, ·) [..., A]."""
        parts = features.chunk(len(self.values), -1)
        values = [value(part) for value, part in zip(self.values, parts, strict=True)]
        return masked(torch.cat(values, -1), mask)


def action_value_head(space: Space[Any], dueling: bool) -> Head:
    """The action values of a Discrete space.

    Raises:
        UserError: The space has other actions.
    """
    actions = _number_of_actions(space)
    return Head(lambda features: ActionValueHead(features, actions, dueling), masked=True)


def separate_action_value_head(space: Space[Any]) -> Head:
    """The action values of a Discrete space, each from a network of its own.

    Raises:
        UserError: The space has other actions.
    """
    actions = _number_of_actions(space)
    return Head(lambda features: SeparateActionValueHead(features, actions), masked=True, torsos=actions)


def _number_of_actions(space: Space[Any]) -> int:
    """Number of actions of a Discrete space [A].

    Raises:
        UserError: The space has other actions.
    """
    if not isinstance(space, Discrete):
        raise UserError(f"this algorithm needs Discrete actions, not {space}: take --algorithm a3c")
    return int(space.n)
