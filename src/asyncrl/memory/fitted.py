"""The memory of fitted Q iteration (Ernst et al. 2005; Riedmiller 2005): all transitions, learned as one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space

from asyncrl.tree import pack, tree_map, unpack

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.networks.assemble import Networks
    from asyncrl.types import Progress, Rollout, WorkerInfo


@dataclass(frozen=True)
class FitRules:
    """What is fitted, when and how often. Numbers of steps are of one worker."""

    capacity: int  # steps that are kept
    start: int  # steps that must be there before the first fit
    iterations: int  # fits after each rollout
    epochs: int  # updates in each fit
    terminal_hints: bool = False  # whether the observations in which episodes terminated are hints


@dataclass(slots=True)
class Fit:
    """One fit of Q to all N transitions, and to M hints."""

    observations: Any  # [N, ...], or that for each key
    actions: Tensor  # [N]
    rewards: Tensor  # [N]
    discounts: Tensor  # [N], γ, or 0 after a terminal state
    following: Any  # the observations after the actions, [N, ...], or that for each key
    hints: Any = None  # observations whose values are known, [M, ...], or that for each key
    targets: Tensor | None = None  # [N], of Q at the fit's beginning: the first loss sets them, and they stay


class FittedMemory:
    """One worker's share of all transitions, each with both of its observations.

    It is saved beside the checkpoints of serial runs.

    Args:
        rules: What is fitted, when and how often.
        worker: The worker.
        hints: Observations whose values are known, [M, ...], or that for each key.
    """

    def __init__(self, rules: FitRules, worker: WorkerInfo, hints: Any = None) -> None:
        import torch

        self.rules, self.hints = rules, hints
        space = worker.environment.observation_space
        self.columns: dict[str, Tensor] = {
            **pack("observations", _rows(space, rules.capacity)),
            **pack("following", _rows(space, rules.capacity)),
            "actions": torch.zeros(rules.capacity, dtype=torch.int64),
            "rewards": torch.zeros(rules.capacity),
            "discounts": torch.zeros(rules.capacity),
        }
        self.collected = 0  # transitions so far; the oldest ones are overwritten

    def add(self, rollout: Rollout) -> None:
        """Copies the steps of a rollout that were really taken."""
        import torch

        taken = rollout.valid
        new = {
            **pack("observations", tree_map(lambda rows: rows[:-1][taken], rollout.observations)),
            **pack("following", tree_map(lambda rows: rows[1:][taken], rollout.observations)),
            "actions": rollout.actions[taken],
            "rewards": rollout.rewards[taken],
            "discounts": rollout.discounts[taken],
        }
        places = torch.arange(self.collected, self.collected + rollout.steps) % self.rules.capacity
        for name, column in self.columns.items():
            column[places] = new[name]
        self.collected += rollout.steps

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Fit]:
        """Each fit as often as it has epochs; none before there are `start` steps."""
        if self.collected < self.rules.start:
            return
        for _ in range(self.rules.iterations):
            fit = self._fit()
            for _ in range(self.rules.epochs):
                yield fit

    def _fit(self) -> Fit:
        kept = {name: column[: self.collected] for name, column in self.columns.items()}
        following, hints = _unpacked("following", kept), self.hints
        if self.rules.terminal_hints:
            terminal = kept["discounts"] == 0
            hints = tree_map(lambda rows: rows[terminal], following)
        observations = _unpacked("observations", kept)
        return Fit(observations, kept["actions"], kept["rewards"], kept["discounts"], following, hints)

    def learned(self, experience: Fit, feedback: None) -> None:
        """Needs nothing."""

    def save(self, file: Path) -> None:
        """Writes all of it."""
        import torch
        from safetensors.torch import save_file

        kept = {name: column[: self.collected] for name, column in self.columns.items()}
        save_file({**kept, "collected": torch.tensor(self.collected)}, file)

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        from safetensors.torch import load_file

        saved: dict[str, Tensor] = load_file(file)
        self.collected = int(saved["collected"])
        for name, column in self.columns.items():
            column[: self.collected] = saved[name]


def bytes_per_transition(space: Space[Any]) -> int:
    """Room that one transition takes."""
    observation = sum(int(row.nbytes) for row in pack("", _rows(space, 1)).values())
    return 2 * observation + 8 + 4 + 4  # action, reward, discount


def _rows(space: Space[Any], rows: int) -> Any:
    """Zeros [rows, ...] for a Box, or that for each key of a Dict."""
    import torch

    if isinstance(space, Dict):
        return {key: _rows(part, rows) for key, part in space.spaces.items()}
    assert isinstance(space, Box)
    return torch.zeros((rows, *space.shape), dtype=torch.from_numpy(np.zeros(0, space.dtype)).dtype)


def _unpacked(name: str, named: dict[str, Tensor]) -> Any:
    """What `pack` has packed under that name."""
    return named[name] if name in named else unpack(name, named)
