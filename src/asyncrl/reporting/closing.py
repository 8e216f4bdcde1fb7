"""Closing all sinks at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from asyncrl.reporting import background
from asyncrl.reporting.background import BackgroundSink
from asyncrl.reporting.sink import Sink

QUIET_SECONDS = 1.0
"""Time to wait for trackers before telling the user about it."""


def close_all(
    sinks: Sequence[Sink], trackers: Sequence[BackgroundSink], tell: Callable[[str], None], at_once: bool
) -> None:
    """Closes all sinks, and warns about those that lost something.

    Args:
        sinks: Files and the terminal. They are closed first, so that they do not wait for trackers.
        trackers: They share one time limit, `background.CLOSE_SECONDS`.
        tell: Shows a message to people.
        at_once: Do not wait for trackers.
    """
    for sink in sinks:
        _close(sink, sink.close, tell)
    for tracker in trackers:
        tracker.finish()
    try:
        if not at_once:
            _wait(trackers, tell)
    except KeyboardInterrupt:  # the user does not want to wait any longer
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
