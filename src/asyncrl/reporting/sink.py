"""The protocols of everything that is told of a run; who can show more than metrics has more than one."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from asyncrl.reporting.histogram import Histogram
from asyncrl.types import Video


class Sink(Protocol):
    """Takes a line of metrics every few seconds."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def write(self, metrics: dict[str, Any]) -> None:
        """Takes one line.

        Raises:
            OSError: It could not be written; training goes on, and the next line is tried.
        """
        ...

    def close(self) -> None:
        """Called once, when the run ends.

        Raises:
            OSError: What it had been given is lost, or a part of it.
        """
        ...


@runtime_checkable
class HistogramSink(Protocol):
    """A sink that shows distributions of parameters."""

    def write_histograms(self, histograms: Mapping[str, Histogram], steps: int) -> None:
        """Takes one histogram for each parameter tensor, by name; raises as `write`."""
        ...


@runtime_checkable
class VideoSink(Protocol):
    """A sink that shows films of episodes."""

    def write_video(self, video: Video, steps: int) -> None:
        """Takes an episode of the agent as it was at that global step; raises as `write`."""
        ...


@runtime_checkable
class SummarySink(Protocol):
    """A sink that keeps how a run ended."""

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Takes what summary.json holds, once, before it is closed; raises as `write`."""
        ...
