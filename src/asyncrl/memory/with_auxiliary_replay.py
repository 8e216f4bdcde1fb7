"""A memory beside the replay of auxiliary tasks: everything that one update is learned from, in one item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
from asyncrl.memory.base import Memory, SavedMemory
from asyncrl.tree import pack, unpack

if TYPE_CHECKING:
    import torch

    from asyncrl.networks.assemble import Networks
    from asyncrl.types import Progress, Rollout


class Drawing(Protocol):
    """What draws from the replay: an auxiliary task."""

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Any:
        """A sample, or None as long as there is nothing to draw."""
        ...


@dataclass(frozen=True, slots=True)
class Supplemented:
    """What an algorithm learns from, and what its auxiliary tasks learn from in the same update."""

    main: Any  # an item of the algorithm's own memory
    samples: Mapping[str, Any]  # of each task that has one, by the task's name


class WithAuxiliaryReplay:
    """An algorithm's own memory, and the replay of its auxiliary tasks beside it.

    Args:
        memory: The algorithm's own memory.
        replay: The replay, empty.
        tasks: What draws from the replay, by name.
    """

    def __init__(self, memory: Memory, replay: AuxiliaryReplay, tasks: Mapping[str, Drawing]) -> None:
        self.memory, self.replay, self.tasks = memory, replay, tasks

    def add(self, rollout: Rollout) -> None:
        """Gives the rollout to both."""
        self.memory.add(rollout)
        self.replay.append(rollout)

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Supplemented]:
        """Each item of the algorithm's own memory, with a new sample for each task."""
        for item in self.memory.draw(networks, random, progress):
            samples = {name: task.draw(self.replay, random) for name, task in self.tasks.items()}
            yield Supplemented(item, {name: sample for name, sample in samples.items() if sample is not None})

    def learned(self, experience: Supplemented, feedback: Any) -> None:
        """Passes the feedback on."""
        self.memory.learned(experience.main, feedback)


class SavedWithAuxiliaryReplay(WithAuxiliaryReplay):
    """One that a serial run saves, for memories that it saves."""

    memory: Any  # a SavedMemory too

    def save(self, file: Path) -> None:
        """Writes both memories; nothing before the first rollout."""
        steps = self.replay.steps.arrays()
        if not steps:
            return
        arrays: dict[str, Any] = pack("steps", steps)
        with TemporaryDirectory() as folder:
            own = Path(folder) / "memory"
            self.memory.save(own)
            if own.exists():
                arrays["memory"] = np.frombuffer(own.read_bytes(), np.uint8)
        with file.open("wb") as stream:
            np.savez(stream, **arrays)

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        with np.load(file, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        self.replay.steps.restore(unpack("steps", arrays))
        if "memory" in arrays:
            with TemporaryDirectory() as folder:
                own = Path(folder) / "memory"
                own.write_bytes(arrays["memory"].tobytes())
                self.memory.load(own)


def with_auxiliary_replay(memory: Memory, replay: AuxiliaryReplay, tasks: Mapping[str, Drawing]) -> WithAuxiliaryReplay:
    """Puts a replay beside a memory; serial runs save it if they save the memory."""
    kind = SavedWithAuxiliaryReplay if isinstance(memory, SavedMemory) else WithAuxiliaryReplay
    return kind(memory, replay, tasks)
