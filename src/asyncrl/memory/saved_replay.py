"""Replay memories that are saved: as a whole beside a checkpoint, or as a copy on disk that follows the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from asyncrl.memory.columns import Arrays
from asyncrl.memory.replay import ReplayMemory
from asyncrl.memory.share_on_disk import ShareOnDisk
from asyncrl.tree import pack, unpack


class SavedReplayMemory(ReplayMemory):
    """A replay memory that is saved on disk.

    Its arrays go to uncompressed zip files one after the other, so that saving takes hardly any further memory, and
    each has a checksum that is tested when it is read.
    """

    def save(self, file: Path) -> None:
        """Writes all of it; nothing before the first rollout."""
        if self.recurrent is not None:
            arrays: dict[str, Any] = {**self.index(), **pack("steps", self.steps.arrays())}
            with file.open("wb") as stream:
                np.savez(stream, **arrays)

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            saved = {name: arrays[name] for name in arrays.files}
        self.restore_index(saved)
        self.steps.restore(unpack("steps", saved))

    def on_disk(self, folder: Path) -> ShareOnDisk:
        """What keeps a copy of it in a folder."""
        return ShareOnDisk(self, folder)

    def form(self) -> dict[str, Any]:
        """What must not change between saving and loading, by the options that decide it."""
        rules = self.rules
        return {
            "--multi-step": rules.multi_step,
            "--sequence-length": rules.sequence_length,
            "--burn-in": rules.burn_in,
            "--prioritized": rules.by_rank,
            "--priority-exponent": rules.priority_exponent,
        }

    def index(self) -> Arrays:
        """Everything but the steps: counts, and which items there are with which priorities."""
        counts = np.array([self.inserted, self.removed, self.collected, self.owed], np.float64)
        return {"counts": counts, "recurrent": np.array(self.recurrent), **pack("selection", self.selection.arrays())}

    def restore_index(self, arrays: Arrays) -> None:
        """Takes back what `index` gave."""
        self.take_form(bool(arrays["recurrent"]))
        self.inserted, self.removed, self.collected = (int(count) for count in arrays["counts"][:3])
        self.owed = float(arrays["counts"][3])
        self.selection.restore(unpack("selection", arrays))
