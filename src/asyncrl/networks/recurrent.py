"""Recurrent cores: features through time, with the state reset wherever an episode starts."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from asyncrl.types import State


class Core(Protocol):
    """What stands between the torso and the heads."""

    output_size: int

    def initial_state(self, environments: int) -> State:
        """The state at an episode's start, each tensor [B, H]."""
        ...

    def __call__(self, features: Tensor, state: State, first: Tensor) -> tuple[Tensor, State]:
        """Features [T, B, F] and first [T, B] give [T, B, output_size] and the state after the last of them."""
        ...


class NoMemory(nn.Module):
    """A feed-forward agent's core: features pass through."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def initial_state(self, environments: int) -> State:
        """The empty state."""
        return ()

    def forward(self, features: Tensor, state: State, first: Tensor) -> tuple[Tensor, State]:
        """Features [T, B, F] as they are."""
        return features, state


class RecurrentCore(nn.Module):
    """An LSTM or GRU cell, unrolled; gradients stop at the rollout's start."""

    def __init__(self, cell: nn.LSTMCell | nn.GRUCell) -> None:
        super().__init__()
        self.cell = cell
        self.output_size = cell.hidden_size

    def initial_state(self, environments: int) -> State:
        """Zeros, each [B, H]: hidden and cell state for an LSTM, hidden state for a GRU."""
        tensors = 2 if isinstance(self.cell, nn.LSTMCell) else 1
        return tuple(torch.zeros(environments, self.output_size) for _ in range(tensors))

    def forward(self, features: Tensor, state: State, first: Tensor) -> tuple[Tensor, State]:
        """Features [T, B, F] and first [T, B] give hidden states [T, B, H] and the last state."""
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
    """The core for `--memory none|lstm|gru`."""
    match memory:
        case "lstm":
            return RecurrentCore(nn.LSTMCell(input_size, size))
        case "gru":
            return RecurrentCore(nn.GRUCell(input_size, size))
        case _:
            return NoMemory(input_size)
