"""The head of stochastic dueling networks: advantages of continuous actions (Wang et al. 2017, §5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asyncrl.networks.heads import Output


class AdvantageHead(nn.Module):
    """A(s, a) = w · ReLU(f(s) + U a), a network of one hidden layer on features and action.

    The head's output is f(s), what the hidden layer takes from the state. `advantage` adds actions to it, as many as a
    loss needs. A last bias would cancel in a difference of advantages, so there is none.

    Args:
        features: Number of features that the head is fed, and of hidden units [F].
        dimensions: Numbers of an action [D].
    """

    def __init__(self, features: int, dimensions: int) -> None:
        super().__init__()
        self.state = nn.Linear(features, features)
        self.action = nn.Linear(dimensions, features, bias=False)
        self.last = Output(features, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features [..., F] give f(s) [..., F]."""
        hidden: Tensor = self.state(features)
        return hidden

    def advantage(self, hidden: Tensor, actions: Tensor) -> Tensor:
        """A(s, a) [...] for f(s) [..., F] and actions [..., D], whose leading axes are broadcast."""
        advantages: Tensor = self.last(torch.relu(hidden + self.action(actions)))
        return advantages.squeeze(-1)
