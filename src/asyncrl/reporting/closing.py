"""The end of all reporting of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from asyncrl.reporting import background
from asyncrl.reporting.background import BackgroundSink
from asyncrl.reporting.sink import Sink

QUIET_SECONDS = 1.0
"""Waited for trackers before a word is said of it."""


def close_all(
    sinks: Sequence[Sink], trackers: Sequence[BackgroundSink], tell: Callable[[str], None], at_once: bool
) -> None:
    """Closes all, and tells of those that did not get everything.

    Args:
        sinks: Closed first, so that neither a file nor the terminal waits for a tracker.
        trackers: Waited for together.
        tell: Takes what people should know.
        at_once: Trackers are not waited for.
    """
    for sink in sinks:
        _close(sink, sink.close, tell)
    for tracker in trackers:
        tracker.finish()
    try:
        if not at_once:
            _wait(trackers, tell)
    except KeyboardInterrupt:  # of somebody who has waited long enough
        pass
    for tracker in trackers:
        _close(tracker, partial(tracker.close, seconds=0.0), tell)


def _wait(trackers: Sequence[BackgroundSink], tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    late = [tracker.name for tracker in trackers if not tracker.is_done_at(began + QUIET_SECONDS)]
    if late:
        seconds = background.CLOSE_SECONDS
        tell(f"the run is over; waiting up to {seconds:g} s for {', '.join(late)} (Ctrl-C gives it up)")
    for tracker in trackers:
        tracker.is_done_at(began + background.CLOSE_SECONDS)


def _close(sink: Sink, close: Callable[[], None], tell: Callable[[str], None]) -> None:
    try:
        close()
    except OSError as error:
        tell(f"warning: {sink.name} did not get everything ({error})")
