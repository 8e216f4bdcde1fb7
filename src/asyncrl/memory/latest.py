"""The memory of the algorithms of 2016: the latest rollout and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from asyncrl.networks.assemble import Networks
    from asyncrl.types import Progress, Rollout


class LatestRollout:
    """Gives each rollout once."""

    rollout: Rollout | None = None

    def add(self, rollout: Rollout) -> None:
        """Takes the place of the rollout before."""
        self.rollout = rollout

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Any]:
        """The rollout, once."""
        if self.rollout is not None:
            yield self.rollout
        self.rollout = None

    def learned(self, experience: Any, feedback: Any) -> None:
        """Needs nothing."""

    def save(self, file: Path) -> None:
        """Nothing lasts from one rollout to the next."""

    def load(self, file: Path) -> None:
        """Nothing was saved."""
