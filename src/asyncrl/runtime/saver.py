"""Decides when checkpoints are written and which are kept, and retries while the disk is full."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from asyncrl.errors import UserError
from asyncrl.runtime.checkpoint import BEST, PARAMETERS, Checkpoint, load_checkpoint, prune, save_checkpoint
from asyncrl.runtime.disk_watch import RETRY_SECONDS, DiskWatch
from asyncrl.runtime.reward_normalizer import RETURN_MOMENTS
from asyncrl.settings import SupervisionSettings
from asyncrl.tree import pack, unpack


class Saver:
    """Writes a run's checkpoints: the newest ones, and the best one.

    Without periodic evaluations the best checkpoint is the one of the highest mean training return.

    Args:
        folder: Folder of the checkpoints.
        settings: How often to save, and which checkpoints to keep.
        disk: Reports checkpoints that cannot be written.
        steps: Global step of the checkpoint that the run goes on from.
    """

    def __init__(self, folder: Path, settings: SupervisionSettings, disk: DiskWatch, steps: int) -> None:
        self.folder, self.settings, self.disk = folder, settings, disk
        self.is_evaluated = settings.eval_every is not None  # whether scores are means of evaluations
        self.tried_at, self.interval = time.monotonic(), settings.checkpoint_seconds
        self.steps = steps  # of the last checkpoint
        self.error: OSError | None = None  # why the last one could not be written
        self.score: float | None = None  # of the best checkpoint
        self.unsaved_best: tuple[Checkpoint, bool] | None = None  # arguments of a `save_best` that failed

    def read_best_score(self) -> str | None:
        """Reads the score of the best checkpoint of an earlier session; returns a warning if it is damaged."""
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
        """Whether a checkpoint should be written at that global step."""
        every = self.settings.keep_every
        passed = every is not None and self.error is None and steps // every != self.steps // every
        return passed or time.monotonic() - self.tried_at >= self.interval

    def save(self, checkpoint: Checkpoint) -> bool:
        """Writes a checkpoint; and, if scores are training returns, writes it as the best one too if it is.

        Returns:
            Whether everything was written. If not, the earlier checkpoints are still there.
        """
        self.tried_at, self.interval = time.monotonic(), RETRY_SECONDS
        if self.unsaved_best is not None and not self.save_best(*self.unsaved_best):
            return False
        if not self.is_evaluated and not self.save_best(checkpoint):
            return False
        if not self._write(checkpoint):
            return False
        prune(self.folder, self.settings.keep_last, self.settings.keep_every)
        self.steps, self.interval = checkpoint.state.steps, self.settings.checkpoint_seconds
        return True

    def save_best(self, checkpoint: Checkpoint, is_final: bool = False) -> bool:
        """Writes the agent of a checkpoint as the best one if its score is the highest so far.

        Args:
            checkpoint: What to write. Only the tensors that belong to the agent are kept.
            is_final: Write it whatever its score is, and let no training return replace it: it reached the goal.

        Returns:
            Whether it was written or need not be. If not, the next `save` tries again.
        """
        self.is_evaluated |= is_final
        score = checkpoint.state.score
        if not is_final and (score is None or (self.score is not None and score <= self.score)):
            return True
        state = replace(checkpoint.state, workers={})
        if not self._write(Checkpoint(_agent(checkpoint.tensors), state), BEST):
            self.unsaved_best = checkpoint, is_final
            return False
        self.score, self.unsaved_best = score, None
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
    """What an agent acts by, and the units of its values."""
    units = {name: tensors[name] for name in (RETURN_MOMENTS,) if name in tensors}
    return pack(PARAMETERS, unpack(PARAMETERS, tensors)) | units
