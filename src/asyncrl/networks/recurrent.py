"""Recurrent cores: features through time, with the state reset wherever an episode starts."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from asyncrl.types import State


class Core(Protocol):
    """The part of a network between torso and heads."""

    output_size: int

    def initial_state(self, environments: int) -> State:
        """Returns the state at the start of an episode, each tensor [B, H]."""
        ...

    def __call__(self, features: Tensor, state: State, first: Tensor) -> tuple[Tensor, State]:
        """Maps features [T, B, F] to outputs [T, B, output_size], and returns the state after the last step too.

        Where `first` [T, B] is true, an episode begins and the state is reset.
        """
        ...


class NoMemory(nn.Module):
    """The core of a feed-forward agent, which passes features on unchanged."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def initial_state(self, environments: int) -> State:
        """Returns the empty state."""
        return ()

    def forward(self, features: Tensor, state: State, first: Tensor) -> tuple[Tensor, State]:
        """Returns features [T, B, F] and state unchanged."""
        return features, state


class RecurrentCore(nn.Module):
    """An LSTM or GRU cell, unrolled over a rollout; gradients stop at the start of the rollout."""

    def __init__(self, cell: nn.LSTMCell | nn.GRUCell) -> None:
        super().__init__()
        self.cell = cell
        self.output_size = cell.hidden_size

    def initial_state(self, environments: int) -> State:
        """Returns zeros, each [B, H]: hidden and cell state of an LSTM, or hidden state of a GRU."""
        tensors = 2 if isinstance(self.cell, nn.LSTMCell) else 1
        return tuple(torch.zeros(environments, self.output_size) for _ in range(tensors))

    def forward(self, features: Tensor, state: State, first: Tensor) -> tuple[Tensor, State]:
        """Maps features [T, B, F] to hidden states [T, B, H], and returns the state after the last step too."""
        keep = (~first).to(features.dtype).unsqueeze(-1)  # [T, B, 1]
        hidden = []
        for t in range(features.shape[0]):
            state = tuple(tensor * keep[t] for tensor in state)
            if isinstance(self.cell, nn.LSTMCell):
                state = self.cell(features[t], state)
            else:
                state = (self.cell(features[t], state[0]),)
            hidden.append(state[0])
        return torch.stack(hidden), state


def make_core(memory: str, input_size: int, size: int) -> NoMemory | RecurrentCore:
    """Makes the core that `--memory none|lstm|gru` names."""
    match memory:
        case "lstm":
            return RecurrentCore(nn.LSTMCell(input_size, size))
        case "gru":
            return RecurrentCore(nn.GRUCell(input_size, size))
        case _:
            return NoMemory(input_size)
