"""Workers as processes: started without fork, one torch thread each, watched, ended with their parent."""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from asyncrl.runtime.failure import Failure, failure_of
from asyncrl.types import Report

if TYPE_CHECKING:
    from asyncrl.runtime.worker import WorkerSetup

REPORT_INTERVAL = 0.1
"""Seconds between two messages of a worker."""
STOP_SECONDS = 4.0
"""How long workers may take to finish their rollout before they are killed."""
END_SECONDS = 0.5
"""How long a worker that has said its last word may take to end."""
DUMP_SECONDS = 1.0
"""How long a worker that hangs may take to write its stack."""
LONGEST_POLL = 5.0
"""Seconds between two looks at the workers after which their silence is not held against them."""
IGNORED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that are the supervisor's business."""

PRELOADED = ["asyncrl.runtime.worker", "asyncrl.envs.atari", "asyncrl.kernels.convolution"]
"""Modules that the fork server imports; one that is missing is left out."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h

_ONE_THREAD = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"


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
    """The workers of a run, each in a process of its own.

    Args:
        setups: Of the workers to start.
        context: How to start them.
        stall_timeout: Seconds without a sign of life after which a worker is killed.
    """

    def __init__(self, setups: Sequence[WorkerSetup], context: BaseContext, stall_timeout: float) -> None:
        self.counter, self.context, self.stall_timeout = setups[0].shared.counter, context, stall_timeout
        self.live: dict[int, _Process] = {}
        self.unborn: list[Failure] = []  # workers that could not be started
        self.polled_at = time.monotonic()
        for setup in setups:
            self.start(setup)

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, or another one in the place of one that failed."""
        try:
            inbox, outbox = self.context.Pipe(duplex=False)
            process = self.context.Process(  # type: ignore[attr-defined]
                target=_main,
                args=(setup, outbox, socket_folder()),
                name=f"asyncrl-worker-{setup.number}",
                daemon=True,
            )
            process.start()
            outbox.close()
        except (OSError, EOFError) as error:  # no memory, no files, no fork server
            self.unborn.append(Failure(setup.number, f"could not be started ({error or type(error).__name__})"))
            return
        pulse = int(self.counter.pulse(setup.number)[0])
        self.live[setup.number] = _Process(process, inbox, stack_file(setup), pulse)

    def poll(self, timeout: float) -> list[Report | Failure]:
        """What has come in, waiting at most `timeout` seconds for the first; a worker that failed is gone."""
        sources = [source for live in self.live.values() for source in live.sources]
        ready = set(multiprocessing.connection.wait(sources, timeout)) if sources else set()
        messages: list[Report | Failure] = [*self.unborn]
        self.unborn.clear()
        for number, live in list(self.live.items()):
            if live.inbox in ready:
                messages += self._receive(number)
            elif live.process.sentinel in ready and not live.is_orphan():
                messages.append(self._bury(number))  # something that it started may still hold its end of the pipe
        return messages + self._find_stalled()

    @property
    def running(self) -> int:
        """Number of workers that may still report."""
        return len(self.live) + len(self.unborn)

    def stop(self) -> list[Report]:
        """Lets workers finish their rollout, kills those that do not, and returns their last reports."""
        self.counter.stop()
        reports, deadline = [], time.monotonic() + STOP_SECONDS
        while self.live and time.monotonic() < deadline:
            reports += [message for message in self.poll(0.1) if isinstance(message, Report)]
        self.kill()
        return reports

    def kill(self) -> None:
        """Makes sure that no worker is left, however the run ended."""
        for live in self.live.values():
            live.end()
        self.live.clear()

    def _receive(self, number: int) -> list[Report | Failure]:
        try:
            message = self.live[number].inbox.recv()
        except (EOFError, OSError):
            return [self._bury(number)]
        if isinstance(message, Report):
            return [message]
        self.live.pop(number).end(END_SECONDS)
        return [] if message is None else [message]

    def _bury(self, number: int) -> Failure:
        """Says why a worker died that left no message."""
        live = self.live.pop(number)
        live.process.join(5.0)
        code = live.process.exitcode
        live.end()
        if live.orphaned:
            return Failure(number, f"(process {live.process.pid}) ended; nobody knows why, as the fork server is gone")
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (perhaps the system ran out of memory)" if name == "SIGKILL" else ""
            return Failure(number, f"(process {live.process.pid}) was killed by {name}{hint}")
        return Failure(number, f"(process {live.process.pid}) ended with exit code {code}")

    def _find_stalled(self) -> list[Failure]:
        now = time.monotonic()
        passed, self.polled_at = now - self.polled_at, now
        if passed > LONGEST_POLL:  # this process itself was stopped or starved, and they may have been too
            passed = 0.0
        found = []
        for number, live in list(self.live.items()):
            pulse = int(self.counter.pulse(number)[0])
            live.still = 0.0 if pulse != live.pulse else live.still + passed
            live.pulse = pulse
            if live.still > self.stall_timeout:
                del self.live[number]
                where = live.dump_stack()
                live.end()
                stack = f"its stack is in {where}" if where else "its stack could not be had"
                reason = f"(process {live.process.pid}) gave no sign of life for {self.stall_timeout:g} s; {stack}"
                found.append(Failure(number, reason))
        return found


@dataclass
class _Process:
    """A worker's process, and what is known of its life."""

    process: Any
    inbox: Connection
    stack: Path  # where it writes its stack when asked to
    pulse: int
    still: float = 0.0  # seconds since its pulse was counted up

    orphaned: bool = False  # the fork server, which would know of its end, has died

    def __post_init__(self) -> None:
        self.known: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):
            self.known = psutil.Process(self.process.pid)

    @property
    def sources(self) -> list[Any]:
        """What tells of news from it."""
        return [self.inbox] if self.orphaned else [self.inbox, self.process.sentinel]

    def is_orphan(self) -> bool:
        """Whether it lives on although its end was reported, because the fork server that reports it has died."""
        with suppress(psutil.NoSuchProcess):
            if self.known is not None and self.known.status() != psutil.STATUS_ZOMBIE:
                self.orphaned = self.known.is_running()
        return self.orphaned

    def dump_stack(self) -> Path | None:
        """Makes it write its stack to a file with the time in its name, and returns that, unless it cannot."""
        if not hasattr(signal, "SIGUSR1"):
            return None
        with suppress(OSError):
            os.kill(self.process.pid, signal.SIGUSR1)
            deadline = time.monotonic() + DUMP_SECONDS
            while time.monotonic() < deadline:
                if self.stack.stat().st_size:
                    time.sleep(0.1)  # the rest of it
                    kept = self.stack.with_name(f"{self.stack.stem}-{time.strftime('%Y%m%d-%H%M%S')}.txt")
                    return self.stack.replace(kept)
                time.sleep(0.02)
        return None

    def end(self, grace: float = 0.0) -> None:
        """Makes sure that it is gone, after so many seconds."""
        self.process.join(grace)
        with suppress(psutil.NoSuchProcess):
            if self.known is not None:
                self.known.kill()  # also if the fork server has died, and with it what multiprocessing knows
        self.process.join()
        self.inbox.close()
        self.stack.unlink(missing_ok=True)


def stack_file(setup: WorkerSetup) -> Path:
    """Where a worker writes its stack when it hangs."""
    return setup.folder / "stacks" / f"worker-{setup.number}.txt"


def _main(setup: WorkerSetup, outbox: Connection, sockets: str) -> None:
    end_with_parent(sockets)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides when to stop
    with _stacks_on_request(stack_file(setup)):
        _work(setup, outbox)


def _work(setup: WorkerSetup, outbox: Connection) -> None:
    import torch

    from asyncrl.runtime.worker import Worker

    torch.set_num_threads(1)
    # moments of parameters without a gradient become so small, and so slow, in long runs
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    try:
        unsent, sent_at = Report(setup.number), 0.0
        for report in Worker(setup).work():
            unsent += report
            if time.monotonic() - sent_at >= REPORT_INTERVAL:
                outbox.send(unsent)
                unsent, sent_at = Report(setup.number), time.monotonic()
        outbox.send(unsent)
        outbox.send(None)  # all is done
    except BrokenPipeError:
        sys.exit(1)  # the supervisor is gone
    except Exception as error:
        outbox.send(failure_of(setup.number, error))
        sys.exit(1)


@contextmanager
def _stacks_on_request(path: Path) -> Iterator[None]:
    """Lets SIGUSR1 write the stacks of all threads to a file; also while the process waits in foreign code."""
    if not hasattr(faulthandler, "register"):
        yield
        return
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("w")
    except OSError:  # no room: work is more important
        yield
        return
    with file:
        faulthandler.register(signal.SIGUSR1, file, all_threads=True)
        yield


def _keep_freed_memory() -> None:
    """Lets glibc reuse the memory of large temporaries instead of giving it back to the system after each operation.

    Every page that the system hands out anew costs a fault and is filled with zeros first.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**30)


def socket_folder() -> str:
    """Where multiprocessing keeps the sockets by which this process starts others."""
    return multiprocessing.util.get_temp_dir()


def end_with_parent(sockets: str) -> None:
    """Ends this process when the one that started it is gone, and takes away the folder of its sockets."""
    threading.Thread(target=_wait_for_parent, args=(sockets,), daemon=True).start()


def _wait_for_parent(sockets: str) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        shutil.rmtree(sockets, ignore_errors=True)
        os._exit(1)
