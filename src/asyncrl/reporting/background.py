"""A sink for services that may be slow or out of reach: a thread of its own talks to them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from asyncrl.reporting.histogram import Histogram
from asyncrl.reporting.sink import HistogramSink, SummarySink, VideoSink
from asyncrl.types import Video

MOST_WAITING = 10_000
RETRY_SECONDS = 30.0
"""Between two attempts, after one that failed."""
ATTEMPTS = 3
"""To hand over a record, before it is given up for the next one."""
CLOSE_SECONDS = 30.0
"""After the end of a run, how long is waited for what has not been handed over; for all trackers together."""


class Tracker(Protocol):
    """A service that keeps the metrics of runs, for people to look at and compare.

    All its methods are called in one thread, may take their time, and may raise anything. One that shows histograms,
    videos or summaries has the methods of `HistogramSink`, `VideoSink` or `SummarySink` too.
    """

    name: str

    def open(self) -> None:
        """Begins the run at the service, or goes on with it; tried again until it succeeds."""
        ...

    def write(self, metrics: dict[str, Any]) -> None:
        """Hands over one line of metrics."""
        ...

    def close(self) -> None:
        """Ends the run at the service."""
        ...


class BackgroundSink:
    """Hands what it is given to a tracker without ever waiting for it.

    Args:
        tracker: Who gets it.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.name = tracker, tracker.name
        self.waiting: deque[Callable[[], None]] = deque(maxlen=MOST_WAITING)
        self.news = threading.Condition()  # something waits, or it is closed
        self.closing = False
        self.done = threading.Event()  # the thread has no more to do
        self.lost = 0  # records given up, or pushed out by newer ones
        self.failing = False  # the last attempt failed
        self.reason = ""  # for which one failed last
        self.thread = threading.Thread(target=self._work, name=f"asyncrl-{self.name}", daemon=True)
        self.thread.start()

    def write(self, metrics: dict[str, Any]) -> None:
        """Lets a line of metrics wait for its turn.

        Raises:
            OSError: The last attempt to hand something over failed; this one waits all the same.
        """
        self._add(partial(self.tracker.write, metrics))

    def write_histograms(self, histograms: Mapping[str, Histogram], steps: int) -> None:
        """Lets histograms wait for their turn, if the tracker shows any; raises as `write`."""
        if isinstance(self.tracker, HistogramSink):
            self._add(partial(self.tracker.write_histograms, histograms, steps))

    def write_video(self, video: Video, steps: int) -> None:
        """Lets a video wait for its turn, if the tracker shows any; raises as `write`."""
        if isinstance(self.tracker, VideoSink):
            self._add(partial(self.tracker.write_video, video, steps))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Lets the summary wait for its turn, if the tracker keeps any; raises as `write`."""
        if isinstance(self.tracker, SummarySink):
            self._add(partial(self.tracker.write_summary, summary))

    def finish(self) -> None:
        """Says that no more will come, and does not wait."""
        with self.news:
            self.closing = True
            self.news.notify()

    def is_done_at(self, deadline: float) -> bool:
        """Whether all is handed over or given up, waiting for it until then (of `time.monotonic`)."""
        return self.done.wait(max(0.0, deadline - time.monotonic()))

    def close(self, seconds: float | None = None) -> None:
        """Waits for what has not been handed over, so many seconds at most; by default `CLOSE_SECONDS`.

        Raises:
            OSError: It takes longer, or failed.
        """
        self.finish()
        is_done = self.is_done_at(time.monotonic() + (CLOSE_SECONDS if seconds is None else seconds))
        left = len(self.waiting) + self.lost
        if not is_done:
            raise OSError(f"it is not done: {left} records or more may be lost")
        if left or self.failing:
            raise OSError(f"{left} records are lost: {self.reason or 'they came faster than it took them'}")

    def _add(self, record: Callable[[], None]) -> None:
        with self.news:
            if len(self.waiting) == self.waiting.maxlen:
                self.lost += 1  # the oldest
            self.waiting.append(record)
            self.news.notify()
        if self.failing:
            raise OSError(self.reason)

    def _work(self) -> None:
        try:
            self._hand_over()
        finally:
            self.done.set()

    def _hand_over(self) -> None:
        while not self._succeeds(self.tracker.open):
            if self._is_closed_within(RETRY_SECONDS):
                return
        while (record := self._next()) is not None:
            for _ in range(ATTEMPTS):
                if self._succeeds(record):
                    break
                self._is_closed_within(RETRY_SECONDS)
            else:
                with self.news:
                    self.lost += 1
        self._succeeds(self.tracker.close)

    def _next(self) -> Callable[[], None] | None:
        """What has waited longest; None when it is closed and nothing waits."""
        with self.news:
            self.news.wait_for(lambda: self.waiting or self.closing)
            return self.waiting.popleft() if self.waiting else None

    def _succeeds(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except BaseException as error:  # also where a service wants to end the program
            lines = str(error).strip().splitlines()
            self.reason = lines[0] if lines else type(error).__name__
            self.failing = True
            return False
        self.failing = False
        return True

    def _is_closed_within(self, seconds: float) -> bool:
        with self.news:
            return self.news.wait_for(lambda: self.closing, seconds)
