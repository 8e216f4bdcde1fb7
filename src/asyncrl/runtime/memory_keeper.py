"""Keeps copies of workers' memories on disk, in runs with processes, so that a resumed run has them again."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from asyncrl.errors import UserError
from asyncrl.memory.base import CopiedMemory, Copy
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.disk_watch import RETRY_SECONDS, DiskWatch, Notify, reason_of
from asyncrl.runtime.room import saves_replay
from asyncrl.runtime.worker import Working

AS_BEFORE = "a resumed run has it as it was when it was saved last"


class MemoryKeeper:
    """Keeps the copy of one worker's memory, if it is a memory that has copies.

    A worker of a resumed run begins with what was saved. A worker that replaces another one begins with nothing.

    Args:
        worker: The worker, before its first turn.
        notify: Takes messages for people.
    """

    def __init__(self, worker: Working, notify: Notify) -> None:
        setup = worker.setup
        self.what, self.notify, self.disk = f"the replay memory of worker {setup.number}", notify, DiskWatch(notify)
        self.folder = _folder(RunFolder(setup.folder), setup.number)
        self.seconds = setup.experiment.supervision.checkpoint_seconds  # from one save to the next
        self.copy: Copy | None = None
        if saves_replay(setup.experiment, setup.info) and isinstance(worker.memory, CopiedMemory):
            self.copy = worker.memory.on_disk(self.folder)
        if self.copy is not None:
            goes_on = setup.attempt == 0 and self.folder.exists()
            if not goes_on or not self._load(self.copy, worker):
                shutil.rmtree(self.folder, ignore_errors=True)
                with suppress(OSError):  # the disk is full, and the first file will say so
                    self.folder.mkdir(parents=True)
        self.saved_at = time.monotonic()
        self.failed_at: float | None = None

    def _load(self, copy: Copy, worker: Working) -> bool:
        try:
            copy.load(lambda: worker.clock.lap("other"))
        except UserError as error:
            self.notify(f"warning: {self.what} begins empty: {error}")
            return False
        return True

    def after_turn(self) -> None:
        """Writes what is new. Saves all when a checkpoint is due, or when writing failed before."""
        now = time.monotonic()
        if self.copy is None or (self.failed_at is not None and now - self.failed_at < RETRY_SECONDS):
            return
        try:
            if self.failed_at is None and now - self.saved_at < self.seconds:
                self.copy.grow()
                return
            self.copy.save()
        except OSError as error:
            self.failed_at = now
            self.disk.failed(self.what, error)
            return
        self.failed_at, self.saved_at = None, time.monotonic()
        self.disk.worked(self.what)

    def at_end(self) -> None:
        """Saves all, after the last turn."""
        if self.copy is None:
            return
        try:
            self.copy.save()
        except OSError as error:
            self.notify(f"warning: {self.what} cannot be written ({reason_of(error)}): {AS_BEFORE}")


def workers_with_copies(run: RunFolder) -> int:
    """The number of workers in the session that left copies in a run's folder; 0 if there are none."""
    return len(list(run.replay.glob("worker-*")))


def _folder(run: RunFolder, worker: int) -> Path:
    return run.replay / f"worker-{worker}"
