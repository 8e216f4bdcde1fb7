"""Signals that ask a program to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class EndAtOnce(SystemExit):
    """Ends the program after a second stop signal."""


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collects the first stop signal in a list instead of ending the program. A second signal ends it at once.

    A signal that is ignored, such as SIGHUP under nohup, stays ignored.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(number)
            return
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)  # nothing may interrupt the killing of child processes
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


def ignore_stop_signals() -> None:
    """Makes this process do nothing on the stop signals, because its parent decides when it ends.

    The signals get an empty handler: SIG_IGN would be inherited by programs that this process starts. So would the
    block on SIGINT that comes from the fork server.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def name_of(number: int) -> str:
    """Returns the name of a signal, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
