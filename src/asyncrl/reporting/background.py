"""A sink for trackers: a background thread talks to the service, which may be slow or unreachable."""

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
"""Records in the queue; beyond that the oldest are dropped."""
RETRY_SECONDS = 30.0
"""Time between two attempts after a failure."""
ATTEMPTS = 3
"""Attempts to send a record before it is dropped."""
CLOSE_SECONDS = 30.0
"""Time to wait at the end of a run for records not sent yet, for all trackers together."""


class Tracker(Protocol):
    """A service that stores the metrics of runs, so that people can look at them and compare them.

    All methods are called in one thread. They may take long and may raise anything. A tracker that shows histograms,
    videos or summaries also has the methods of `HistogramSink`, `VideoSink` or `SummarySink`.
    """

    name: str

    def open(self) -> None:
        """Creates the run at the service or resumes it; called again until it succeeds."""
        ...

    def write(self, line: dict[str, Any]) -> None:
        """Sends one line of metrics."""
        ...

    def close(self) -> None:
        """Ends the run at the service."""
        ...


class BackgroundSink:
    """Sends records to a tracker without ever making the caller wait.

    Args:
        tracker: The service that gets the records.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.name = tracker, tracker.name
        self.waiting: deque[Callable[[], None]] = deque(maxlen=MOST_WAITING)
        self.changed = threading.Condition()  # notified when a record is added or the sink is closed
        self.closing = False
        self.done = threading.Event()  # the thread has finished
        self.lost = 0  # records dropped, after failures or because the queue was full
        self.failing = False  # the last attempt failed
        self.reason = ""  # why the last failed attempt failed
        self.thread = threading.Thread(target=self._work, name=f"asyncrl-{self.name}", daemon=True)
        self.thread.start()

    def write(self, line: dict[str, Any]) -> None:
        """Queues a line of metrics.

        Raises:
            OSError: The last attempt to send a record failed. This line is queued all the same.
        """
        self._add(partial(self.tracker.write, line))

    def write_histograms(self, histograms: Mapping[str, Histogram], steps: int) -> None:
        """Queues histograms if the tracker can show them; raises as `write` does."""
        if isinstance(self.tracker, HistogramSink):
            self._add(partial(self.tracker.write_histograms, histograms, steps))

    def write_video(self, video: Video, steps: int) -> None:
        """Queues a video if the tracker can show it; raises as `write` does."""
        if isinstance(self.tracker, VideoSink):
            self._add(partial(self.tracker.write_video, video, steps))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Queues the summary if the tracker keeps one; raises as `write` does."""
        if isinstance(self.tracker, SummarySink):
            self._add(partial(self.tracker.write_summary, summary))

    def finish(self) -> None:
        """Tells the thread that no more records will come, and returns at once."""
        with self.changed:
            self.closing = True
            self.changed.notify()

    def is_done_at(self, deadline: float) -> bool:
        """Waits for the thread until a deadline of `time.monotonic`, and returns whether it has finished."""
        return self.done.wait(max(0.0, deadline - time.monotonic()))

    def close(self, seconds: float | None = None) -> None:
        """Waits until the queue is empty, at most so many seconds; by default `CLOSE_SECONDS`.

        Raises:
            OSError: Records are lost, or may be.
        """
        self.finish()
        is_done = self.is_done_at(time.monotonic() + (CLOSE_SECONDS if seconds is None else seconds))
        left = len(self.waiting) + self.lost
        if not is_done:
            raise OSError(f"it has not finished: {left} records or more may be lost")
        if left or self.failing:
            raise OSError(f"{left} records are lost: {self.reason or 'they came faster than they could be sent'}")

    def _add(self, record: Callable[[], None]) -> None:
        with self.changed:
            if len(self.waiting) == self.waiting.maxlen:
                self.lost += 1  # the oldest
            self.waiting.append(record)
            self.changed.notify()
        if self.failing:
            raise OSError(self.reason)

    def _work(self) -> None:
        try:
            self._send_all()
        finally:
            self.done.set()

    def _send_all(self) -> None:
        while not self._succeeds(self.tracker.open):
            if self._is_closed_within(RETRY_SECONDS):
                return
        while (record := self._next()) is not None:
            for _ in range(ATTEMPTS):
                if self._succeeds(record):
                    break
                self._is_closed_within(RETRY_SECONDS)
            else:
                with self.changed:
                    self.lost += 1
        self._succeeds(self.tracker.close)

    def _next(self) -> Callable[[], None] | None:
        """Waits for the oldest record and returns it; None when the sink is closed and the queue empty."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closing)
            return self.waiting.popleft() if self.waiting else None

    def _succeeds(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except BaseException as error:  # a service may even call sys.exit
            lines = str(error).strip().splitlines()
            self.reason = lines[0] if lines else type(error).__name__
            self.failing = True
            return False
        self.failing = False
        return True

    def _is_closed_within(self, seconds: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.closing, seconds)
