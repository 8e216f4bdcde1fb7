"""A process that this one starts, seen from both sides: the parent watches it, and it ends when its parent is gone."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from asyncrl.signals import name_of

JOIN_SECONDS = 5.0
"""How long to wait until the system has ended a process that was killed."""
UNTOLD = 255
"""The exit code that multiprocessing gives where the fork server died before it could tell the true one."""


class ChildProcess:
    """A process that this one starts, with a pipe to it and a heartbeat.

    Args:
        context: Start method.
        target: Module-level function that the process runs.
        arguments: Arguments of the function. The child's end of the pipe follows them.
        name: Name of the process.
        pulse: Heartbeat [1] in shared memory, which the process counts up while it works.

    Raises:
        OSError: The process could not be started.
        EOFError: The fork server has died.
    """

    def __init__(
        self,
        context: BaseContext,
        target: Callable[..., None],
        arguments: tuple[Any, ...],
        name: str,
        pulse: NDArray[np.int64],
    ) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(  # type: ignore[attr-defined]
            target=target, args=(*arguments, theirs), name=name, daemon=True
        )
        try:
            self.process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()
        self.pulse, self.last_pulse = pulse, int(pulse[0])
        self.silent_seconds = 0.0  # since the heartbeat was last counted up
        self.orphaned = False  # the fork server, which would report the end of the process, has died
        self.system_process: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):
            self.system_process = psutil.Process(self.process.pid)

    @property
    def sources(self) -> list[Any]:
        """What to wait for: a message from the process, or its end."""
        return [self.pipe] if self.orphaned else [self.pipe, self.process.sentinel]

    def is_orphan(self) -> bool:
        """Whether the process still runs although multiprocessing says it has ended, because the fork server died."""
        with suppress(psutil.NoSuchProcess):
            if self.system_process is not None and self.system_process.status() != psutil.STATUS_ZOMBIE:
                self.orphaned = self.system_process.is_running()
        return self.orphaned

    def seconds_without_heartbeat(self, passed: float) -> float:
        """Seconds since the last heartbeat.

        Args:
            passed: Seconds since the previous call.
        """
        pulse = int(self.pulse[0])
        self.silent_seconds = 0.0 if pulse != self.last_pulse else self.silent_seconds + passed
        self.last_pulse = pulse
        return self.silent_seconds

    def end(self, grace: float = 0.0) -> None:
        """Waits `grace` seconds for the process to end, then kills it and every process that it started."""
        self.process.join(grace)
        with suppress(psutil.NoSuchProcess):
            if self.system_process is not None:
                for child in self.system_process.children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                self.system_process.kill()  # psutil can do this even when the fork server has died
        self.process.join(JOIN_SECONDS)  # not for ever: a process that waits for a disk cannot be killed
        self.pipe.close()

    def cause_of_death(self) -> str:
        """Describes why the process, which has ended, did so without a message."""
        self.process.join(JOIN_SECONDS)
        code, name = self.process.exitcode, f"(process {self.process.pid})"
        if self.orphaned:
            return f"{name} ended for an unknown reason, because the fork server is gone"
        if code == UNTOLD:
            return f"{name} ended for an unknown reason: with exit code {UNTOLD}, or the fork server died before it"
        if code is not None and code < 0:
            cause = name_of(-code)
            hint = " (perhaps the system ran out of memory)" if cause == "SIGKILL" else ""
            return f"{name} was killed by {cause}{hint}"
        return f"{name} ended with exit code {code}"


def end_with_parent() -> None:
    """Makes this process end when its parent is gone."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
