"""The trackio tracker."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrl import metrics
from asyncrl.reporting import names
from asyncrl.reporting.histogram import Histogram
from asyncrl.types import Video

if TYPE_CHECKING:
    from asyncrl.reporting.trackers.tracked_run import TrackedRun


class Trackio:
    """A run in the folder that TRACKIO_DIR names, by default trackio's own folder."""

    name = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        self.tracked = run
        self.run: Any = None

    def open(self) -> None:
        """Creates or resumes the run."""
        import trackio

        known = self.tracked.known_as("trackio")
        # trackio finds runs by name only, so the name must be unique
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

    def write(self, line: dict[str, Any]) -> None:
        """Logs one line."""
        self.run.log(names.grouped(line), step=line[metrics.STEPS])

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
            shown = trackio.Video(str(file), caption=names.caption(video), format="gif")
            self.run.log({names.VIDEO: shown}, step=steps)

    def close(self) -> None:
        """Ends the run."""
        self.run.finish()
