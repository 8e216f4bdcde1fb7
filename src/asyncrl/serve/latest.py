"""An agent that loads each new checkpoint of its run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from asyncrl.agent import untrained
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import (
    BEST,
    LAST,
    STATE,
    checkpoint_folders,
    load_chosen,
    load_parameters,
    step_of,
)
from asyncrl.runtime.reward_normalizer import saved_deviation

CHECK_SECONDS = 1.0
"""Least time between two looks for a new checkpoint."""


class LatestAgent:
    """The agent of a run, with the parameters of its newest undamaged checkpoint.

    Args:
        folder: The run folder.
        which: `last` or `best`, to follow that checkpoint as it is replaced, or the step of one to stay with.
        modules: Modules that the run's settings may import.

    Raises:
        UserError: The settings cannot be used, or there is no checkpoint of that step.

    Attributes:
        steps: Training step of the parameters in use; None until a checkpoint is loaded.
        written_at: When these parameters were saved, in seconds since 1970.
        problem: Why the newest checkpoint is not in use; empty if it is.
    """

    def __init__(self, folder: RunFolder, which: str = LAST, modules: Sequence[str] = ()) -> None:
        self.checkpoints, self.which = folder.checkpoints, which
        if which not in (LAST, BEST):
            load_chosen(self.checkpoints, which)
        self.agent = untrained(folder.read_experiment(modules))
        self.steps: int | None = None
        self.written_at = 0.0
        self.problem = ""
        self.checked_at = -CHECK_SECONDS
        self.stamp: tuple[str, int] | None = None  # identifies the newest checkpoint seen

    def refresh(self) -> None:
        """Loads the newest checkpoint if it has not been seen before; looks for one at most once a second."""
        now = time.monotonic()
        if now - self.checked_at < CHECK_SECONDS:
            return
        self.checked_at = now
        path = self._path()
        stamp = None if path is None else _stamp(path)
        if stamp is None or stamp == self.stamp:
            return
        self.stamp = stamp
        try:
            checkpoint, damaged = load_chosen(self.checkpoints, self.which)
            if damaged and self.steps is not None:
                raise UserError(damaged[0])  # the parameters in use are no older than the newest undamaged checkpoint
            load_parameters(self.agent.network, checkpoint, self.agent.info)
        except UserError as error:
            self.problem = str(error)
            return
        self.agent = replace(self.agent, return_deviation=saved_deviation(checkpoint.tensors))
        self.steps, self.problem = checkpoint.state.steps, damaged[0] if damaged else ""
        self.written_at = self._written_at(self.steps)

    def _path(self) -> Path | None:
        if self.which == BEST:
            return self.checkpoints / BEST
        found = checkpoint_folders(self.checkpoints)
        if self.which != LAST:
            found = [path for path in found if step_of(path) == int(self.which)]
        return found[-1] if found else None

    def _written_at(self, steps: int) -> float:
        paths = [self.checkpoints / BEST] if self.which == BEST else checkpoint_folders(self.checkpoints)
        with suppress(OSError):  # it was deleted meanwhile because there are newer ones
            for path in paths:
                if self.which == BEST or step_of(path) == steps:
                    return (path / STATE).stat().st_mtime
        return time.time()


def _stamp(path: Path) -> tuple[str, int] | None:
    """Identifies the checkpoint in a place, which may be replaced; None while there is none."""
    try:
        return path.name, (path / STATE).stat().st_mtime_ns
    except OSError:
        return None
