"""Workers as processes: started without fork, one torch thread each, ended with their parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

from asyncrl.errors import RunError, UserError
from asyncrl.types import Report

if TYPE_CHECKING:
    from asyncrl.runtime.worker import WorkerSetup

REPORT_INTERVAL = 0.1
"""Seconds between two messages of a worker."""
STOP_SECONDS = 4.0
"""How long workers may take to finish their rollout before they are killed."""

PRELOADED = ["asyncrl.runtime.worker", "asyncrl.envs.atari", "asyncrl.kernels.convolution"]
"""Modules that the fork server imports; one that is missing is left out."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h

_ONE_THREAD = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"


@dataclass(frozen=True)
class Failure:
    """A worker's last message when it could not go on."""

    text: str  # a traceback, or one line where the input was at fault
    is_user_error: bool


def process_context() -> BaseContext:
    """How workers are started: forkserver where the system has it, else spawn; fork never.

    The fork server imports torch once and every worker starts from there, so that starting is quick and the workers
    share the pages of its libraries.
    """
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(PRELOADED)
    return context


def start_fork_server() -> None:
    """Lets the fork server import what workers need while this process does the same."""
    if process_context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()


class ProcessWorkers:
    """The workers of a run, each in a process of its own."""

    def __init__(self, setups: Sequence[WorkerSetup], context: BaseContext) -> None:
        self.counter = setups[0].shared.counter
        self.processes: list[Any] = []
        self.inboxes: list[Connection] = []
        for setup in setups:
            inbox, outbox = context.Pipe(duplex=False)
            process = context.Process(  # type: ignore[attr-defined]
                target=_main, args=(setup, outbox), name=f"asyncrl-worker-{setup.number}", daemon=True
            )
            process.start()
            outbox.close()
            self.processes.append(process)
            self.inboxes.append(inbox)

    def poll(self, timeout: float) -> list[Report]:
        """Reports that have come in, waiting at most `timeout` seconds for the first.

        Raises:
            RunError: A worker has died; the message has its number, and its traceback or its signal.
        """
        open_inboxes = [inbox for inbox in self.inboxes if not inbox.closed]
        ready = multiprocessing.connection.wait(open_inboxes, timeout)
        reports = []
        for number, inbox in enumerate(self.inboxes):
            if inbox not in ready:
                continue
            try:
                message = inbox.recv()
            except (EOFError, OSError):
                inbox.close()
                self._raise_if_dead(number)
                continue
            if isinstance(message, Failure):
                if message.is_user_error:
                    raise UserError(message.text)
                raise RunError(f"worker {number} failed:\n{message.text}")
            reports.append(message)
        return reports

    @property
    def running(self) -> bool:
        """Whether any worker may still report."""
        return any(not inbox.closed for inbox in self.inboxes)

    def stop(self) -> list[Report]:
        """Lets workers finish their rollout, kills those that do not, and returns their last reports."""
        self.counter.stop()
        reports, deadline = [], time.monotonic() + STOP_SECONDS
        while self.running and time.monotonic() < deadline:
            try:
                reports += self.poll(0.1)
            except (RunError, UserError):
                continue  # another worker's failure ended the run, or this one's did just now
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        self.kill()
        return reports

    def kill(self) -> None:
        """Makes sure that no worker is left, however the run ended."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
                process.join()

    def _raise_if_dead(self, number: int) -> None:
        process = self.processes[number]
        process.join(5.0)
        code = process.exitcode
        if code == 0:
            return
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (perhaps the system ran out of memory)" if name == "SIGKILL" else ""
            raise RunError(f"worker {number} (process {process.pid}) was killed by {name}{hint}")
        raise RunError(f"worker {number} (process {process.pid}) ended with exit code {code}")


def _main(setup: WorkerSetup, outbox: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides when to stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    import torch

    from asyncrl.runtime.worker import work

    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    torch.set_flush_denormal(
        True
    )  # moments of parameters without a gradient become so small, and so slow, in long runs
    _keep_freed_memory()
    try:
        unsent, sent_at = Report(setup.number), 0.0
        for report in work(setup):
            unsent += report
            if time.monotonic() - sent_at >= REPORT_INTERVAL:
                outbox.send(unsent)
                unsent, sent_at = Report(setup.number), time.monotonic()
        outbox.send(unsent)
    except BrokenPipeError:
        sys.exit(1)  # the supervisor is gone
    except UserError as error:
        outbox.send(Failure(str(error), is_user_error=True))
        sys.exit(2)
    except Exception:
        outbox.send(Failure(traceback.format_exc(), is_user_error=False))
        sys.exit(1)


def _keep_freed_memory() -> None:
    """Lets glibc reuse the memory of large temporaries instead of giving it back to the system after each operation.

    Every page that the system hands out anew costs a fault and is filled with zeros first.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**30)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
