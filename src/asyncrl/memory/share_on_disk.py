"""A worker's share of a replay memory on disk, in blocks that follow the memory while it grows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from asyncrl.errors import UserError
from asyncrl.files import replaced, sync_folder
from asyncrl.memory.columns import Arrays, bytes_per_step
from asyncrl.memory.recent_steps import RecentSteps
from asyncrl.tree import pack, unpack

if TYPE_CHECKING:
    from asyncrl.types import WorkerInfo

SHARE = "share.npz"
BLOCK_BYTES = 16 * 2**20
"""Size of a block, roughly. A run that is stopped has at most this much of each worker's steps left to write."""


class Share(Protocol):
    """A memory that keeps recent steps, and what it needs beside them."""

    steps: RecentSteps
    worker: WorkerInfo

    def form(self) -> dict[str, Any]:
        """Its own settings that must not change between saving and loading, by their options."""
        ...

    def index(self) -> Arrays:
        """Everything but the steps, such as counts and priorities."""
        ...

    def restore_index(self, arrays: Arrays) -> None:
        """Takes back what `index` gave."""
        ...

    def clear(self) -> None:
        """Forgets everything."""
        ...


class ShareOnDisk:
    """A copy of a worker's share of the replay memory on disk, which follows it while the worker works.

    Steps are written in blocks of rows, each once, when the block is full. So nearly all of a large memory is on disk
    already when a run is stopped. `share.npz`, which replaces the one before it as a whole, says up to which row the
    copy goes, and holds the counts and the priorities. Files that it does not need are removed only when it has been
    written, so the copy on disk is whole at any time.

    Args:
        share: The share.
        folder: Folder of the copy; it belongs to this share alone.
    """

    def __init__(self, share: Share, folder: Path) -> None:
        worker, steps = share.worker, share.steps
        self.share, self.steps, self.folder = share, steps, folder
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
                self._write_rows(begin, end)
                self.full = end

    def save(self) -> None:
        """Brings the copy up to date, if there has been a rollout.

        Raises:
            OSError: It could not be written; the copy is as it was.
        """
        if not self.steps.written:
            return
        self.grow()
        blocks = self._blocks(self.steps.written)
        begin, end = blocks[-1]
        if end > self.full:
            self._write_rows(begin, end)
        counts = {"form": np.array(json.dumps(self._form)), "written": np.array(self.steps.written)}
        self._write(SHARE, {**counts, **pack("index", self.share.index())})
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
            self.share.clear()
            raise
        except Exception as error:  # numpy, zipfile and json have many ways to say that a file is damaged
            self.share.clear()
            missing = isinstance(error, FileNotFoundError) and error.filename == str(self.folder / SHARE)
            raise UserError("it was not saved" if missing else f"it is damaged ({type(error).__name__})") from error

    def _load(self, alive: Callable[[], None]) -> None:
        with np.load(self.folder / SHARE, allow_pickle=False) as arrays:
            saved = {name: arrays[name] for name in arrays.files}
        form, written = json.loads(str(saved["form"])), int(saved["written"])
        changed = [option for option, value in self._form.items() if form.get(option) != value]
        if changed:
            raise UserError(f"it was saved with another {changed[0]}")
        self.share.restore_index(unpack("index", saved))
        for begin, end in self._blocks(written):
            with np.load(self.folder / _name(begin, end), allow_pickle=False) as arrays:
                self.steps.put_back(begin, end, {name: arrays[name] for name in arrays.files})
            alive()
        self.steps.written, self.full = written, written // self.block * self.block
        self.steps.end_episodes()

    @property
    def _form(self) -> dict[str, Any]:
        """What must not change between saving and loading, by the options that decide it."""
        return {
            "--workers": self.share.worker.workers,
            "--envs-per-worker": self.share.worker.environments,
            "--rollout-length": self.steps.rollout_length,
            "--replay-capacity": self.steps.rows,
            **self.share.form(),
            "size of blocks": self.block,
        }

    def _blocks(self, written: int) -> list[tuple[int, int]]:
        """First row and end of all blocks that have rows of the ring when so many rows were written."""
        oldest = max(0, written - self.steps.rows)
        begins = range(oldest // self.block * self.block, written, self.block)
        return [(begin, min(begin + self.block, written)) for begin in begins]

    def _write_rows(self, begin: int, end: int) -> None:
        self._write(_name(begin, end), self.steps.copied(begin, end))

    def _write(self, name: str, arrays: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with replaced(self.folder / name) as file:
            np.savez(file, **arrays)


def _name(begin: int, end: int) -> str:
    return f"rows-{begin}-{end}.npz"
