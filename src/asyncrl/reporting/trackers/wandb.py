"""Weights & Biases."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncrl.reporting import names
from asyncrl.reporting.histogram import Histogram
from asyncrl.types import Video

if TYPE_CHECKING:
    from asyncrl.reporting.trackers import TrackedRun

STEPS = "steps"
"""The axis of all curves. wandb's own steps may never go back, as a run does that is resumed from its checkpoint."""


class WeightsAndBiases:
    """A run there; its own files lie in the run folder."""

    name = "Weights & Biases"

    def __init__(self, run: TrackedRun) -> None:
        self.tracked, self.failed = run, False

    def open(self) -> None:
        """Begins the run, or goes on with it.

        Raises:
            OSError: Nobody is logged in.
        """
        import wandb

        # without this, wandb would ask in the terminal for a key
        if wandb.setup().settings.mode not in ("offline", "disabled") and not wandb.login(prompt=False):
            raise OSError("nobody is logged in: 'wandb login' does it, or WANDB_MODE=offline keeps the run here")
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
        self.run.define_metric("*", step_metric=STEPS)

    def write(self, metrics: dict[str, Any]) -> None:
        """Logs one line."""
        self._log(names.grouped(metrics), metrics["steps"])

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

        caption = f"return {video.total_reward:g} in {video.length} steps"
        self._log({names.VIDEO: wandb.Video(io.BytesIO(video.gif), caption=caption, format="gif")}, steps)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Keeps how the run ended, beside the last values of its curves."""
        self.failed = summary["status"] == "failed"
        self.run.summary.update({key: summary[key] for key in ("status", "ended_by", "best_return_mean")})

    def close(self) -> None:
        """Ends the run."""
        self.run.finish(exit_code=int(self.failed))

    def _log(self, values: Mapping[str, Any], steps: int) -> None:
        self.run.log({STEPS: steps, **values})
