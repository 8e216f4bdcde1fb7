"""Everything and everybody that is told of a run while it lasts: sinks, and people's callbacks."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from asyncrl import callbacks as views
from asyncrl import metrics
from asyncrl.callbacks import Callback
from asyncrl.config import Experiment
from asyncrl.errors import RunError
from asyncrl.reporting.histogram import histogram_of
from asyncrl.reporting.sink import HistogramSink, Sink, SummarySink, VideoSink
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.evaluator import Evaluation
from asyncrl.runtime.saver import DiskWatch, Notify
from asyncrl.runtime.shared import Counts
from asyncrl.runtime.telemetry import Metrics
from asyncrl.signals import EndAtOnce
from asyncrl.types import Report, Video

HISTOGRAM_SECONDS = 30.0
"""Between two checkpoints of which histograms are shown; those of a run's end always are."""


class Reporters:
    """Tells sinks and callbacks; none of them can keep a run from going on, but callbacks may end it in order.

    Args:
        sinks: Where metrics go, and what else they can show.
        callbacks: Of the user.
        disk: Told of sinks that cannot be written.
        notify: Takes what people should know.
    """

    def __init__(self, sinks: Sequence[Sink], callbacks: Sequence[Callback], disk: DiskWatch, notify: Notify) -> None:
        self.sinks, self.callbacks, self.disk, self.notify = list(sinks), list(callbacks), disk, notify
        self.stopped = False  # a callback ended the run
        self.error = ""  # of a callback
        self.shown_at = -HISTOGRAM_SECONDS  # histograms

    def check(self) -> None:
        """Ends the run if a callback has failed.

        Raises:
            RunError: One has.
        """
        if self.error:
            raise RunError(self.error)

    def start(self, experiment: Experiment, folder: RunFolder, session: int, steps: int) -> None:
        """A run begins, or goes on."""
        self._call("on_start", views.Started(folder.path, experiment, session, steps))

    def report(self, report: Report, episodes: int, counts: Counts) -> None:
        """A worker told what it did; reports before it told of so many episodes."""
        if report.updates and self._overridden("on_updates"):
            means = {name: total / report.updates for name, total in report.totals.items()}
            view = views.Updated(report.worker, report.updates, MappingProxyType(means), counts.updates, counts.steps)
            self._call("on_updates", view)
        if self._overridden("on_episode"):
            for number, episode in enumerate(report.episodes, episodes + 1):
                view_of_episode = views.EpisodeEnded(
                    number, episode.total_reward, episode.length, report.worker, episode.environment
                )
                self._call("on_episode", view_of_episode)

    def metrics(self, line: Metrics) -> None:
        """A line of metrics is due."""
        for sink in [*self.sinks]:
            self.write(sink, partial(sink.write, line))
        view = views.MetricsWritten(
            steps=line[metrics.STEPS],
            updates=line[metrics.UPDATES],
            episodes=line[metrics.EPISODES],
            wall_seconds=line[metrics.WALL_SECONDS],
            return_mean=line[metrics.RETURN_MEAN],
            line=MappingProxyType(line),
        )
        self._call("on_metrics", view)

    def video(self, steps: int, video: Video) -> None:
        """An episode of the agent as it was at that step has been filmed."""
        for sink in [sink for sink in self.sinks if isinstance(sink, VideoSink)]:
            self.write(sink, partial(sink.write_video, video, steps))

    def evaluation(self, steps: int, evaluation: Evaluation) -> None:
        """An evaluation has ended."""
        self._call("on_evaluation", views.Evaluated(steps, evaluation))

    def checkpoint(self, folder: RunFolder, steps: int) -> None:
        """A checkpoint has been written."""
        self._call("on_checkpoint", views.CheckpointSaved(steps, folder.path))

    def histograms(self, parameters: Mapping[str, Tensor], steps: int, at_last: bool) -> None:
        """Shows how parameters are distributed, if that was not long ago."""
        now = time.monotonic()
        if not at_last and now - self.shown_at < HISTOGRAM_SECONDS:
            return
        self.shown_at = now
        counted = {name: histogram_of(tensor.detach().numpy()) for name, tensor in parameters.items()}
        found = {name: histogram for name, histogram in counted.items() if histogram is not None}
        for sink in [sink for sink in self.sinks if isinstance(sink, HistogramSink)]:
            self.write(sink, partial(sink.write_histograms, found, steps))

    def end(self, folder: RunFolder, summary: Mapping[str, Any]) -> None:
        """The run has ended and is saved, its summary too."""
        view = views.Ended(summary["status"], summary["ended_by"], folder.path, MappingProxyType(dict(summary)))
        self._call("on_end", view)

    def summary(self, summary: Mapping[str, Any]) -> None:
        """Tells sinks how the run ended, once nothing can change it any more."""
        for sink in [sink for sink in self.sinks if isinstance(sink, SummarySink)]:
            self.write(sink, partial(sink.write_summary, summary))

    def write(self, sink: Sink, action: Callable[[], None]) -> None:
        """Has something written; training goes on if it cannot be."""
        try:
            action()
            self.disk.worked(sink.name)
        except BrokenPipeError:
            self.sinks.remove(sink)
            self.notify(f"warning: nobody reads {sink.name} any more: training goes on without")
        except OSError as error:
            self.disk.failed(sink.name, error)

    def _overridden(self, method: str) -> bool:
        """Whether any callback has that method, so that nobody makes views in vain."""
        inherited = getattr(Callback, method)
        return any(getattr(getattr(one, method), "__func__", None) is not inherited for one in self.callbacks)

    def _call(self, method: str, view: object) -> None:
        for callback in [*self.callbacks]:
            try:
                self.stopped |= _is_true(getattr(callback, method)(view))
            except EndAtOnce:
                raise
            except (Exception, SystemExit) as error:  # what was learned must not be lost for it
                self.callbacks.remove(callback)
                self.stopped, self.error = True, self.error or _describe(callback, method, error)


def _is_true(answer: object) -> bool:
    """Whether a callback said True, its own or NumPy's; other objects that count as true end no run."""
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _describe(callback: Callback, method: str, error: BaseException) -> str:
    """Whose mistake it is, where, and what Python says of it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = "".join(traceback.format_exception_only(error)).strip()
    return f"the callback {type(callback).__name__}.{method} failed ({where.filename}, line {where.lineno}): {text}"
