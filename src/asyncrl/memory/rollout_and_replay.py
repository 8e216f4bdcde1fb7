"""The memory of an actor-critic that learns by Q-learning too: the newest rollout, then replayed minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asyncrl.memory.replay import ReplayMemory
from asyncrl.memory.saved_replay import SavedReplayMemory
from asyncrl.types import Rollout

if TYPE_CHECKING:
    import torch

    from asyncrl.networks.assemble import Networks
    from asyncrl.types import Progress


class RolloutAndReplay(ReplayMemory):
    """A replay memory whose worker learns from each rollout as it comes, and then from what is replayed."""

    newest: Rollout | None = None

    def add(self, rollout: Rollout) -> None:
        """Copies a rollout, and keeps a view of it until it is learned."""
        super().add(rollout)
        self.newest = rollout

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Any]:
        """The newest `Rollout`, then as many `Replayed` minibatches as the replay ratio asks for."""
        yield self.newest
        self.newest = None
        yield from super().draw(networks, random, progress)

    def learned(self, experience: Any, feedback: Any) -> None:
        """Needs nothing."""


class SavedRolloutAndReplay(RolloutAndReplay, SavedReplayMemory):
    """One that is saved on disk."""
