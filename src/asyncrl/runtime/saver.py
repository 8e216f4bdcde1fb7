"""When checkpoints are written, which are kept, and what is done while there is no room for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from asyncrl.errors import UserError
from asyncrl.runtime.checkpoint import BEST, PARAMETERS, Checkpoint, load_checkpoint, prune, save_checkpoint
from asyncrl.settings import SupervisionSettings
from asyncrl.tree import pack, unpack

Notify = Callable[[str], None]
"""Tells people, on the terminal and in the run's log."""

RETRY_SECONDS = 10.0
"""Until a checkpoint that could not be written is tried again."""
REMIND_SECONDS = 600.0
"""Until people are told again that nothing can be written."""


def reason_of(error: OSError | None) -> str:
    """What the system says, in words."""
    return error.strerror or str(error) if error is not None else "for an unknown reason"


class DiskWatch:
    """Tells people once when writing fails, again every ten minutes, and when it works again."""

    def __init__(self, notify: Notify) -> None:
        self.notify = notify
        self.told_at: dict[str, float] = {}

    def failed(self, what: str, error: OSError) -> None:
        """Something could not be written."""
        now = time.monotonic()
        if now - self.told_at.get(what, -REMIND_SECONDS) >= REMIND_SECONDS:
            self.told_at[what] = now
            self.notify(
                f"warning: {what} cannot be written ({reason_of(error)}): training goes on, and it is tried again"
            )

    def worked(self, what: str) -> None:
        """Something was written."""
        if self.told_at.pop(what, None) is not None:
            self.notify(f"{what} can be written again")


class Saver:
    """Writes a run's checkpoints.

    Args:
        folder: Of the checkpoints.
        settings: How often, and which to keep.
        disk: Told of what cannot be written.
        steps: Of the checkpoint that the run goes on from.
    """

    def __init__(self, folder: Path, settings: SupervisionSettings, disk: DiskWatch, steps: int) -> None:
        self.folder, self.settings, self.disk = folder, settings, disk
        self.is_evaluated = settings.eval_every is not None
        self.tried_at, self.interval = time.monotonic(), settings.checkpoint_seconds
        self.steps = steps  # of the last checkpoint
        self.error: OSError | None = None  # why the last one could not be written
        self.score: float | None = None  # of the best checkpoint

    def take_up_score(self) -> str | None:
        """Reads the score of the best checkpoint, if there is one; returns a warning if that is damaged."""
        if not (self.folder / BEST).exists():
            return None
        try:
            state = load_checkpoint(self.folder / BEST).state
        except UserError as error:
            return str(error)
        if state.score_is_evaluated == self.is_evaluated:
            self.score = state.score
        return None

    def is_due(self, steps: int) -> bool:
        """Whether it is time for a checkpoint at that global step."""
        every = self.settings.keep_every
        passed = every is not None and self.error is None and steps // every != self.steps // every
        return passed or time.monotonic() - self.tried_at >= self.interval

    def save(self, checkpoint: Checkpoint) -> bool:
        """Writes a checkpoint; and, in a run without evaluations, as the best one too if it is.

        Returns:
            Whether it was written; if not, the earlier ones are still there.
        """
        self.tried_at, self.interval = time.monotonic(), RETRY_SECONDS
        if not self.is_evaluated and not self.save_best(checkpoint):
            return False
        if not self._write(checkpoint):
            return False
        prune(self.folder, self.settings.keep_last, self.settings.keep_every)
        self.steps, self.interval = checkpoint.state.steps, self.settings.checkpoint_seconds
        return True

    def save_best(self, checkpoint: Checkpoint) -> bool:
        """Writes what an agent acts by, if its score is the best so far; false if it could not be written."""
        score = checkpoint.state.score
        if score is None or (self.score is not None and score <= self.score):
            return True
        state = replace(checkpoint.state, workers={})
        if not self._write(Checkpoint(_agent(checkpoint.tensors), state), BEST):
            return False
        self.score = score
        return True

    def _write(self, checkpoint: Checkpoint, name: str | None = None) -> bool:
        try:
            save_checkpoint(self.folder, checkpoint, name)
        except OSError as error:
            self.error = error
            self.disk.failed("the checkpoint", error)
            return False
        self.error = None
        self.disk.worked("the checkpoint")
        return True


def _agent(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return pack(PARAMETERS, unpack(PARAMETERS, tensors))
