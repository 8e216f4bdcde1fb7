"""Replay memories on disk: as a whole beside a checkpoint, or in blocks that follow the memory while it grows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncrl.errors import UserError
from asyncrl.files import replaced, sync_folder
from asyncrl.memory.columns import bytes_per_step
from asyncrl.memory.replay import ReplayMemory
from asyncrl.tree import pack

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile

SHARE = "share.npz"
BLOCK_BYTES = 16 * 2**20
"""Size of a block, roughly. A run that is stopped has at most this much of each worker's steps left to write."""


class SavedReplayMemory(ReplayMemory):
    """A replay memory that is saved on disk.

    Its arrays go to uncompressed zip files one after the other, so that saving takes hardly any further memory, and
    each has a checksum that is tested when it is read.
    """

    def save(self, file: Path) -> None:
        """Writes all of it; nothing before the first rollout."""
        if self.recurrent is not None:
            with file.open("wb") as stream:
                np.savez(stream, **self.index(), **pack("steps", self.steps.arrays()))

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            self.take_form(bool(arrays["recurrent"]))
            self.restore_index(arrays)
            self.steps.restore(_part("steps", arrays))

    def on_disk(self, folder: Path) -> ShareOnDisk:
        """What keeps a copy of it in a folder."""
        return ShareOnDisk(self, folder)

    def index(self) -> dict[str, Any]:
        """Everything but the steps: counts, and which items there are with which priorities."""
        counts = np.array([self.inserted, self.removed, self.collected, self.owed], np.float64)
        return {"counts": counts, "recurrent": np.array(self.recurrent), **pack("selection", self.selection.arrays())}

    def restore_index(self, arrays: NpzFile) -> None:
        """Takes back what `index` gave; the memory has taken its form already."""
        self.inserted, self.removed, self.collected = (int(count) for count in arrays["counts"][:3])
        self.owed = float(arrays["counts"][3])
        self.selection.restore(_part("selection", arrays))


class ShareOnDisk:
    """A copy of a worker's share of the replay memory on disk, which follows it while the worker works.

    Steps are written in blocks of rows, each once, when the block is full. So nearly all of a large memory is on disk
    already when a run is stopped. `share.npz`, which replaces the one before it as a whole, says up to which row the
    copy goes, and holds the counts and the priorities. Files that it does not need are removed only when it has been
    written, so the copy on disk is whole at any time.

    Args:
        memory: The share.
        folder: Folder of the copy; it belongs to this share alone.
    """

    def __init__(self, memory: SavedReplayMemory, folder: Path) -> None:
        worker, steps = memory.worker, memory.steps
        self.memory, self.steps, self.folder = memory, steps, folder
        rollout_bytes = steps.rollout_length * worker.environments * bytes_per_step(worker.environment)
        rollouts = min(BLOCK_BYTES // rollout_bytes, steps.rows // steps.rollout_length)
        self.block = max(1, rollouts) * steps.rollout_length  # rows of a block
        self.full = 0  # rows that were written in full blocks

    def grow(self) -> None:
        """Writes the blocks that have become full.

        Raises:
            OSError: One could not be written; the next call tries it again.
        """
        if self.steps.written < self.full + self.block:
            return
        for begin, end in self._blocks(self.steps.written):
            if begin >= self.full and end - begin == self.block:
                self._write(begin, end)
                self.full = end

    def save(self) -> None:
        """Brings the copy up to date, if there has been a rollout.

        Raises:
            OSError: It could not be written; the copy is as it was.
        """
        if self.memory.recurrent is None:
            return
        self.grow()
        blocks = self._blocks(self.steps.written)
        begin, end = blocks[-1]
        if end > self.full:
            self._write(begin, end)
        with replaced(self.folder / SHARE) as file:
            np.savez(
                file,
                form=np.array(json.dumps(self._form)),
                written=np.array(self.steps.written),
                **self.memory.index(),
            )
        sync_folder(self.folder)
        needed = {SHARE, *(_name(*block) for block in blocks)}
        for path in self.folder.iterdir():
            if path.name not in needed:
                path.unlink()

    def load(self, alive: Callable[[], None]) -> None:
        """Fills the share, which is still empty, from its copy.

        Episodes that were running end there, because the environments begin new ones.

        Args:
            alive: Is called after each block, as a sign of life.

        Raises:
            UserError: There is no copy, it is damaged, or it belongs to other settings; the share is empty then.
        """
        try:
            self._load(alive)
        except UserError:
            self.memory.clear()
            raise
        except Exception as error:  # numpy, zipfile and json have many ways to say that a file is damaged
            self.memory.clear()
            missing = isinstance(error, FileNotFoundError) and error.filename == str(self.folder / SHARE)
            raise UserError("it was not saved" if missing else f"it is damaged ({type(error).__name__})") from error

    def _load(self, alive: Callable[[], None]) -> None:
        with np.load(self.folder / SHARE, allow_pickle=False) as arrays:
            self.memory.take_form(bool(arrays["recurrent"]))
            saved = json.loads(str(arrays["form"]))
            changed = [option for option, value in self._form.items() if saved.get(option) != value]
            if changed:
                raise UserError(f"it was saved with another {changed[0]}")
            self.memory.restore_index(arrays)
            written = int(arrays["written"])
        for begin, end in self._blocks(written):
            with np.load(self.folder / _name(begin, end), allow_pickle=False) as arrays:
                self.steps.put_back(begin, end, {name: arrays[name] for name in arrays.files})
            alive()
        self.steps.written, self.full = written, written // self.block * self.block
        self.steps.end_episodes()

    @property
    def _form(self) -> dict[str, Any]:
        """What must not change between saving and loading, by the option that decides it."""
        memory, rules = self.memory, self.memory.rules
        if memory.recurrent:
            items = {"--sequence-length": rules.sequence_length, "--burn-in": rules.burn_in}
        else:
            items = {"--multi-step": rules.multi_step}
        return {
            "--workers": memory.worker.workers,
            "--envs-per-worker": memory.worker.environments,
            "--rollout-length": memory.rollout_length,
            "--replay-capacity": self.steps.rows,
            "--prioritized": rules.by_rank,
            "--priority-exponent": rules.priority_exponent,
            **items,
            "size of blocks": self.block,
        }

    def _blocks(self, written: int) -> list[tuple[int, int]]:
        """First row and end of all blocks that have rows of the ring when so many rows were written."""
        oldest = max(0, written - self.steps.rows)
        begins = range(oldest // self.block * self.block, written, self.block)
        return [(begin, min(begin + self.block, written)) for begin in begins]

    def _write(self, begin: int, end: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = self.steps.copied(begin, end)
        with replaced(self.folder / _name(begin, end)) as file:
            np.savez(file, **arrays)


def _name(begin: int, end: int) -> str:
    return f"rows-{begin}-{end}.npz"


def _part(prefix: str, arrays: NpzFile) -> dict[str, Any]:
    """The arrays of a file that are named `prefix/KEY`, by their keys."""
    start = f"{prefix}/"
    return {name.removeprefix(start): arrays[name] for name in arrays.files if name.startswith(start)}
