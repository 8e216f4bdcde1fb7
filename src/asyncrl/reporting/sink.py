"""The protocols of sinks: everything that a run reports to."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from asyncrl.reporting.histogram import Histogram
from asyncrl.types import Video


class Sink(Protocol):
    """Takes a line of metrics every few seconds.

    A sink that can show more also has the methods of `HistogramSink`, `VideoSink` or `SummarySink`.
    """

    @property
    def name(self) -> str:
        """The name that messages to people use."""
        ...

    def write(self, line: dict[str, Any]) -> None:
        """Writes one line of metrics.

        Raises:
            OSError: The line could not be written. Training continues, and the next line is tried.
        """
        ...

    def close(self) -> None:
        """Closes the sink; called once, when the run ends.

        Raises:
            OSError: Some of what the sink was given is lost.
        """
        ...


@runtime_checkable
class HistogramSink(Protocol):
    """A sink that shows how parameters are distributed."""

    def write_histograms(self, histograms: Mapping[str, Histogram], steps: int) -> None:
        """Writes one histogram for each parameter tensor, by the tensor's name; raises as `write` does."""
        ...


@runtime_checkable
class VideoSink(Protocol):
    """A sink that shows videos of episodes."""

    def write_video(self, video: Video, steps: int) -> None:
        """Writes an episode of the agent as it was at that global step; raises as `write` does."""
        ...


@runtime_checkable
class SummarySink(Protocol):
    """A sink that records how a run ended."""

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Takes the contents of summary.json, once, before `close`; raises as `write` does."""
        ...
