"""Signals that ask for an end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class EndAtOnce(SystemExit):
    """A second signal has come; no mistake of anybody."""


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collects the signals that ask for an end, instead of dying of them; a second one ends the program at once.

    SIGHUP is left alone where it is ignored, as under nohup.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(number)
            return
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)  # killing the processes that are left must come to its end
        raise KeyboardInterrupt if number == signal.SIGINT else EndAtOnce(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def leave_to_parent() -> None:
    """Does nothing on these signals: the process that started this one decides when it ends.

    They are not ignored, because programs that this one starts would inherit that.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: None)


def name_of(number: int) -> str:
    """Such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
