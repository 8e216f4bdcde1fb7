"""trackio."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrl.reporting import names
from asyncrl.reporting.histogram import Histogram
from asyncrl.types import Video

if TYPE_CHECKING:
    from asyncrl.reporting.trackers import TrackedRun


class Trackio:
    """A run in trackio's store: the folder that TRACKIO_DIR names, else trackio's own."""

    name = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        self.tracked = run
        self.run: Any = None

    def open(self) -> None:
        """Begins the run, or goes on with it."""
        import trackio

        known = self.tracked.known_as("trackio")
        # trackio finds runs by their names alone, so that of this one must be like no other
        name = known or f"{self.tracked.name}-{secrets.token_hex(2)}"
        self.run = trackio.init(
            project=self.tracked.project,
            name=name,
            config=dict(self.tracked.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self.tracked.remember("trackio", name)

    def write(self, metrics: dict[str, Any]) -> None:
        """Logs one line."""
        self.run.log(names.grouped(metrics), step=metrics["steps"])

    def write_histograms(self, histograms: Mapping[str, Histogram], steps: int) -> None:
        """Logs a histogram for each parameter tensor."""
        import trackio

        shown = {
            names.parameter(name): trackio.Histogram(np_histogram=(one.counts, one.edges))
            for name, one in histograms.items()
        }
        self.run.log(shown, step=steps)

    def write_video(self, video: Video, steps: int) -> None:
        """Logs an episode."""
        import trackio

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "episode.gif"
            file.write_bytes(video.gif)
            caption = f"return {video.total_reward:g} in {video.length} steps"
            self.run.log({names.VIDEO: trackio.Video(str(file), caption=caption, format="gif")}, step=steps)

    def close(self) -> None:
        """Ends the run."""
        self.run.finish()
