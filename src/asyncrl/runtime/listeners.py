"""Passes the events of a run on to its listeners: sinks and the user's callbacks."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from asyncrl import callbacks as events
from asyncrl import metrics
from asyncrl.callbacks import Callback
from asyncrl.config import Experiment
from asyncrl.errors import RunError
from asyncrl.reporting.histogram import histogram_of
from asyncrl.reporting.sink import HistogramSink, Sink, SummarySink, VideoSink
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.disk_watch import DiskWatch, Notify
from asyncrl.runtime.shared import Counts
from asyncrl.runtime.telemetry import Metrics
from asyncrl.signals import EndAtOnce
from asyncrl.types import Evaluation, Report, Video

HISTOGRAM_SECONDS = 30.0
"""Least time between two sets of histograms. The last checkpoint of a run always gets histograms."""


class Listeners:
    """The sinks and callbacks of a run.

    A sink that cannot be written does not stop the run. A callback that fails ends it as a failure.

    Args:
        disk: Reports sinks that cannot be written.
        notify: Takes messages for people.
    """

    def __init__(self, disk: DiskWatch, notify: Notify) -> None:
        self.disk, self.notify = disk, notify
        self.sinks: list[Sink] = []
        self.callbacks: list[Callback] = []
        self.stopped = False  # a callback ended the run
        self.error = ""  # of a callback
        self.histograms_at = -HISTOGRAM_SECONDS  # time of the last histograms

    def attach(self, sinks: Sequence[Sink], callbacks: Sequence[Callback] = ()) -> None:
        """Adds sinks and callbacks."""
        self.sinks += sinks
        self.callbacks += callbacks

    def check(self) -> None:
        """Ends the run if a callback has failed.

        Raises:
            RunError: A callback has failed.
        """
        if self.error:
            raise RunError(self.error)

    def start(self, experiment: Experiment, folder: RunFolder, session: int, steps: int) -> None:
        """The run begins, or goes on."""
        self._call("on_start", events.Started(folder.path, experiment, session, steps))

    def report(self, report: Report, episodes: int, counts: Counts) -> None:
        """A worker sent a report; earlier reports had so many episodes."""
        if report.updates and self._overridden("on_updates"):
            means = {name: total / report.updates for name, total in report.totals.items()}
            event = events.Updated(report.worker, report.updates, MappingProxyType(means), counts.updates, counts.steps)
            self._call("on_updates", event)
        if self._overridden("on_episode"):
            for number, episode in enumerate(report.episodes, episodes + 1):
                ended = events.EpisodeEnded(
                    number, episode.total_reward, episode.length, report.worker, episode.environment
                )
                self._call("on_episode", ended)

    def metrics(self, line: Metrics) -> None:
        """Writes a line of metrics."""
        for sink in [*self.sinks]:
            self.write(sink, partial(sink.write, line))
        event = events.MetricsWritten(
            steps=line[metrics.STEPS],
            updates=line[metrics.UPDATES],
            episodes=line[metrics.EPISODES],
            wall_seconds=line[metrics.WALL_SECONDS],
            return_mean=line[metrics.RETURN_MEAN],
            line=MappingProxyType(line),
        )
        self._call("on_metrics", event)

    def video(self, steps: int, video: Video) -> None:
        """Shows a video of the agent as it was at that step."""
        for sink in [sink for sink in self.sinks if isinstance(sink, VideoSink)]:
            self.write(sink, partial(sink.write_video, video, steps))

    def evaluation(self, steps: int, evaluation: Evaluation, for_goal: bool) -> None:
        """The agent as it was at that step has been evaluated."""
        self._call("on_evaluation", events.Evaluated(steps, evaluation, for_goal))

    def checkpoint(self, folder: RunFolder, steps: int) -> None:
        """A checkpoint has been written."""
        self._call("on_checkpoint", events.CheckpointSaved(steps, folder.path))

    def histograms(self, parameters: Mapping[str, Tensor], steps: int, at_last: bool) -> None:
        """Shows the distribution of each parameter tensor, if the last time is long enough ago."""
        now = time.monotonic()
        if not at_last and now - self.histograms_at < HISTOGRAM_SECONDS:
            return
        self.histograms_at = now
        counted = {name: histogram_of(tensor.detach().numpy()) for name, tensor in parameters.items()}
        found = {name: histogram for name, histogram in counted.items() if histogram is not None}
        for sink in [sink for sink in self.sinks if isinstance(sink, HistogramSink)]:
            self.write(sink, partial(sink.write_histograms, found, steps))

    def end(self, folder: RunFolder, summary: Mapping[str, Any]) -> None:
        """The run has ended; its last checkpoint and its summary are written."""
        event = events.Ended(summary["status"], summary["ended_by"], folder.path, MappingProxyType(dict(summary)))
        self._call("on_end", event)

    def summary(self, summary: Mapping[str, Any]) -> None:
        """Gives sinks the final summary."""
        for sink in [sink for sink in self.sinks if isinstance(sink, SummarySink)]:
            self.write(sink, partial(sink.write_summary, summary))

    def write(self, sink: Sink, action: Callable[[], None]) -> None:
        """Writes to a sink; training goes on if that fails."""
        try:
            action()
            self.disk.worked(sink.name)
        except BrokenPipeError:
            self.sinks.remove(sink)
            self.notify(f"warning: nobody reads {sink.name} any more: training goes on without")
        except OSError as error:
            self.disk.failed(sink.name, error)

    def _overridden(self, method: str) -> bool:
        """Whether any callback has that method; otherwise no event objects need to be made."""
        inherited = getattr(Callback, method)
        return any(getattr(getattr(one, method), "__func__", None) is not inherited for one in self.callbacks)

    def _call(self, method: str, event: object) -> None:
        for callback in [*self.callbacks]:
            try:
                self.stopped |= _is_true(getattr(callback, method)(event))
            except EndAtOnce:
                raise
            except (Exception, SystemExit) as error:  # the run still has to be saved
                self.callbacks.remove(callback)
                self.stopped, self.error = True, self.error or _describe(callback, method, error)


def _is_true(answer: object) -> bool:
    """Whether a callback returned True, Python's or NumPy's. Other objects that count as true do not end the run."""
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _describe(callback: Callback, method: str, error: BaseException) -> str:
    """Describes which callback failed, where, and with which exception."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = "".join(traceback.format_exception_only(error)).strip()
    return f"the callback {type(callback).__name__}.{method} failed ({where.filename}, line {where.lineno}): {text}"
