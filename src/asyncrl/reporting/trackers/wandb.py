"""The Weights & Biases tracker."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncrl import metrics
from asyncrl.reporting import names
from asyncrl.reporting.histogram import Histogram
from asyncrl.types import Video

if TYPE_CHECKING:
    from asyncrl.reporting.trackers.tracked_run import TrackedRun


class WeightsAndBiases:
    """A run at Weights & Biases; its local files are in the run folder.

    `steps` are logged as the axis of all curves. wandb's own step counter cannot go back, but the steps of a run do
    when it is resumed from a checkpoint.
    """

    name = "Weights & Biases"

    def __init__(self, run: TrackedRun) -> None:
        self.tracked, self.failed = run, False

    def open(self) -> None:
        """Creates or resumes the run.

        Raises:
            OSError: Nobody is logged in.
        """
        import wandb

        # without this check, wandb would ask for a key in the terminal
        if wandb.setup().settings.mode not in ("offline", "disabled") and not wandb.login(prompt=False):
            raise OSError("nobody is logged in: run 'wandb login', or set WANDB_MODE=offline to keep the run here")
        key = self.tracked.known_as("wandb") or secrets.token_hex(4)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", self.tracked.project),
            name=self.tracked.name,
            id=key,
            resume="allow",
            dir=os.environ.get("WANDB_DIR", str(self.tracked.folder.path)),
            config=dict(self.tracked.settings),
            allow_val_change=True,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.tracked.remember("wandb", key)
        self.run.define_metric("*", step_metric=metrics.STEPS)

    def write(self, line: dict[str, Any]) -> None:
        """Logs one line."""
        self._log(names.grouped(line), line[metrics.STEPS])

    def write_histograms(self, histograms: Mapping[str, Histogram], steps: int) -> None:
        """Logs a histogram for each parameter tensor."""
        import wandb

        shown = {
            names.parameter(name): wandb.Histogram(np_histogram=(one.counts, one.edges))
            for name, one in histograms.items()
        }
        self._log(shown, steps)

    def write_video(self, video: Video, steps: int) -> None:
        """Logs an episode."""
        import wandb

        shown = wandb.Video(io.BytesIO(video.gif), caption=names.caption(video), format="gif")
        self._log({names.VIDEO: shown}, steps)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Stores how the run ended in wandb's summary of the run."""
        self.failed = summary["status"] == "failed"
        self.run.summary.update({key: summary[key] for key in names.SUMMARY})

    def close(self) -> None:
        """Ends the run."""
        self.run.finish(exit_code=int(self.failed))

    def _log(self, values: Mapping[str, Any], steps: int) -> None:
        self.run.log({metrics.STEPS: steps, **values})
