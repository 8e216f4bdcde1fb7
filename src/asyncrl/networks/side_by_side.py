"""Several torsos in the place of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class SideBySide(nn.Module):
    """Torsos that share no parameters, on the same observations; their features come one torso after another."""

    def __init__(self, make: Callable[[], nn.Module], count: int) -> None:
        super().__init__()
        self.torsos = nn.ModuleList(make() for _ in range(count))
        self.output_size = count * int(self.torsos[0].output_size)  # type: ignore[arg-type]

    def forward(self, observations: Any) -> Tensor:
        """Maps observations [N, ...] to features [N, count · F]."""
        return torch.cat([torso(observations) for torso in self.torsos], -1)
