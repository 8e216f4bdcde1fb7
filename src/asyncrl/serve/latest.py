"""An agent that takes up the checkpoints of its run as they are written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
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

CHECK_SECONDS = 1.0
"""Between two looks for a new checkpoint."""


class LatestAgent:
    """The agent of a run, with the parameters of its newest whole checkpoint.

    Args:
        folder: Of the run.
        which: `last` or `best`, which are followed, or the step of one, which stays.
        modules: That the run's settings may import.

    Raises:
        UserError: The settings cannot be used, or there is no checkpoint of that step.
    """

    def __init__(self, folder: RunFolder, which: str = LAST, modules: Sequence[str] = ()) -> None:
        self.checkpoints, self.which = folder.checkpoints, which
        if which not in (LAST, BEST):
            load_chosen(self.checkpoints, which)
        self.agent = untrained(folder.read_experiment(modules))
        self.steps: int | None = None  # of the parameters in use, once there are any
        self.written_at = 0.0  # when they were, in seconds since 1970
        self.problem = ""  # why the newest checkpoint is not in use
        self.looked_at = -CHECK_SECONDS
        self.stamp: tuple[str, int] | None = None  # of the newest checkpoint seen

    def refresh(self) -> None:
        """Takes up the newest checkpoint, if there is one that was not seen before; looks once a second."""
        now = time.monotonic()
        if now - self.looked_at < CHECK_SECONDS:
            return
        self.looked_at = now
        place = self._place()
        stamp = None if place is None else _stamp(place)
        if stamp is None or stamp == self.stamp:
            return
        self.stamp = stamp
        try:
            checkpoint, damaged = load_chosen(self.checkpoints, self.which)
            if damaged and self.steps is not None:
                raise UserError(damaged[0])  # what is in use is no older than what could be had
            load_parameters(self.agent.network, checkpoint, self.agent.info)
        except UserError as error:
            self.problem = str(error)
            return
        self.steps, self.problem = checkpoint.state.steps, damaged[0] if damaged else ""
        self.written_at = self._written_at(self.steps)

    def _place(self) -> Path | None:
        if self.which == BEST:
            return self.checkpoints / BEST
        found = checkpoint_folders(self.checkpoints)
        if self.which != LAST:
            found = [path for path in found if step_of(path) == int(self.which)]
        return found[-1] if found else None

    def _written_at(self, steps: int) -> float:
        places = [self.checkpoints / BEST] if self.which == BEST else checkpoint_folders(self.checkpoints)
        with suppress(OSError):  # it was deleted meanwhile, because there are newer ones
            for place in places:
                if self.which == BEST or step_of(place) == steps:
                    return (place / STATE).stat().st_mtime
        return time.time()


def _stamp(place: Path) -> tuple[str, int] | None:
    """What tells a checkpoint from another in its place; None while it is not there."""
    try:
        return place.name, (place / STATE).stat().st_mtime_ns
    except OSError:
        return None
