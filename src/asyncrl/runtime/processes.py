"""Workers as processes: started without fork, one torch thread each, watched, ended with their parent."""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from asyncrl.errors import UserError
from asyncrl.runtime.failure import Failure, failure_of
from asyncrl.signals import leave_to_parent, name_of
from asyncrl.types import Report

if TYPE_CHECKING:
    from asyncrl.runtime.shared import Counter
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
JOIN_SECONDS = 5.0
"""How long the system may take to end a process that was killed."""

PRELOADED = [
    "asyncrl.runtime.fork_server",
    "asyncrl.runtime.worker",
    "asyncrl.envs.atari",
    "asyncrl.kernels.convolution",
]
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
    """Lets the fork server import what workers need while this process does the same.

    Raises:
        UserError: There is no place for its socket.
    """
    if process_context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        try:
            ensure_running()
        except OSError as error:
            folder = tempfile.gettempdir()
            reason = f"no socket can be made in {folder} ({error.strerror or error})"
            raise UserError(f"processes cannot be started: {reason}; set TMPDIR to another folder") from error


class ChildProcess:
    """A process that this one starts, and what is known of its life.

    Args:
        context: How to start it.
        target: What it runs: a function of the module level.
        arguments: Arguments of the function; the child's end of the pipe comes after them.
        name: For lists of processes.
        pulse: A number [1] in shared memory that it counts up while it works.

    Raises:
        OSError: It could not be started.
        EOFError: The fork server has died meanwhile.
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
        self.pulse, self.counted = pulse, int(pulse[0])
        self.still = 0.0  # seconds since the pulse was counted up
        self.orphaned = False  # the fork server, which would know of its end, has died
        self.known: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):
            self.known = psutil.Process(self.process.pid)

    @property
    def sources(self) -> list[Any]:
        """What tells of news from it."""
        return [self.pipe] if self.orphaned else [self.pipe, self.process.sentinel]

    def is_orphan(self) -> bool:
        """Whether it lives on although its end was reported, because the fork server that reports it has died."""
        with suppress(psutil.NoSuchProcess):
            if self.known is not None and self.known.status() != psutil.STATUS_ZOMBIE:
                self.orphaned = self.known.is_running()
        return self.orphaned

    def stands_still(self, passed: float) -> float:
        """Seconds since its last sign of life, `passed` seconds after the last question."""
        counted = int(self.pulse[0])
        self.still = 0.0 if counted != self.counted else self.still + passed
        self.counted = counted
        return self.still

    def end(self, grace: float = 0.0) -> None:
        """Makes sure that it is gone after so many seconds, with what it started itself."""
        self.process.join(grace)
        with suppress(psutil.NoSuchProcess):
            if self.known is not None:
                for child in self.known.children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                self.known.kill()  # also if the fork server has died, and with it what multiprocessing knows
        self.process.join(JOIN_SECONDS)  # a process that waits for a disk cannot even be killed
        self.pipe.close()

    def cause_of_death(self) -> str:
        """Why it ended without a message; it has ended."""
        self.process.join(JOIN_SECONDS)
        code, name = self.process.exitcode, f"(process {self.process.pid})"
        if self.orphaned:
            return f"{name} ended; nobody knows why, as the fork server is gone"
        if code is not None and code < 0:
            hint = " (perhaps the system ran out of memory)" if -code == signal.SIGKILL else ""
            return f"{name} was killed by {name_of(-code)}{hint}"
        return f"{name} ended with exit code {code}"


class ProcessWorkers:
    """The workers of a run, each in a process of its own.

    Args:
        counter: Of the run.
        context: How to start processes.
        stall_timeout: Seconds without a sign of life after which a worker is killed.
    """

    def __init__(self, counter: Counter, context: BaseContext, stall_timeout: float) -> None:
        self.counter, self.context, self.stall_timeout = counter, context, stall_timeout
        self.live: dict[int, ChildProcess] = {}
        self.stacks: dict[int, Path] = {}
        self.unborn: list[Failure] = []  # workers that could not be started
        self.polled_at = time.monotonic()

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, or another one in the place of one that failed."""
        number = setup.number
        name, pulse = f"asyncrl-worker-{number}", self.counter.pulse(number)
        self.stacks[number] = stack_file(setup)
        try:
            self.live[number] = ChildProcess(self.context, _main, (setup,), name, pulse)
        except (OSError, EOFError) as error:  # no memory, no files, no fork server
            self.unborn.append(Failure(number, f"could not be started ({error or type(error).__name__})"))

    def poll(self, timeout: float) -> list[Report | Failure]:
        """What has come in, waiting at most `timeout` seconds for the first; a worker that failed is gone."""
        return self._messages(timeout) + self._stalled()

    def _messages(self, timeout: float) -> list[Report | Failure]:
        sources = [source for child in self.live.values() for source in child.sources]
        if not sources:
            time.sleep(timeout)
        ready = set(multiprocessing.connection.wait(sources, timeout)) if sources else set()
        messages: list[Report | Failure] = [*self.unborn]
        self.unborn.clear()
        for number, child in list(self.live.items()):
            if child.pipe in ready:
                messages += self._receive(number)
            elif child.process.sentinel in ready and not child.is_orphan():
                messages.append(self._bury(number))  # something that it started may still hold its end of the pipe
        return messages

    @property
    def running(self) -> int:
        """Number of workers that may still report."""
        return len(self.live) + len(self.unborn)

    @property
    def process_ids(self) -> dict[int, int]:
        """Of the workers that live, by their numbers."""
        return {number: child.process.pid for number, child in self.live.items()}

    def stop(self) -> list[Report]:
        """Lets workers finish their rollout, kills those that do not, and returns their last reports."""
        self.counter.stop()
        reports, deadline = [], time.monotonic() + STOP_SECONDS
        while self.live and time.monotonic() < deadline:
            reports += [message for message in self._messages(0.1) if isinstance(message, Report)]
        self.kill()
        return reports

    def kill(self) -> None:
        """Makes sure that no worker is left, however the run ended."""
        while self.live:
            self._end(next(iter(self.live)))

    def _receive(self, number: int) -> list[Report | Failure]:
        try:
            message = self.live[number].pipe.recv()
        except (EOFError, OSError):
            return [self._bury(number)]
        if isinstance(message, Report):
            return [message]
        self._end(number, END_SECONDS)
        return [] if message is None else [message]

    def _bury(self, number: int) -> Failure:
        reason = self.live[number].cause_of_death()
        self._end(number)
        return Failure(number, reason)

    def _end(self, number: int, grace: float = 0.0) -> None:
        self.live.pop(number).end(grace)
        self.stacks[number].unlink(missing_ok=True)

    def _stalled(self) -> list[Report | Failure]:
        now = time.monotonic()
        passed, self.polled_at = now - self.polled_at, now
        if passed > LONGEST_POLL:  # this process itself was stopped or starved, and they may have been too
            passed = 0.0
        hanging = [n for n, child in self.live.items() if child.stands_still(passed) > self.stall_timeout]
        stacks = self._dump_stacks(hanging)
        failures: list[Report | Failure] = []
        for number in hanging:
            stack = f"its stack is in {stacks[number]}" if number in stacks else "its stack could not be had"
            who = f"(process {self.live[number].process.pid})"
            failures.append(Failure(number, f"{who} gave no sign of life for {self.stall_timeout:g} s; {stack}"))
            self._end(number)
        return failures

    def _dump_stacks(self, numbers: Sequence[int]) -> dict[int, Path]:
        """Makes workers write their stacks to files with the time in their names; those that can do."""
        found: dict[int, Path] = {}
        if not numbers or not hasattr(signal, "SIGUSR1"):
            return found
        for number in numbers:
            with suppress(OSError):
                os.kill(self.live[number].process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + DUMP_SECONDS
        while len(found) < len(numbers) and time.monotonic() < deadline:
            time.sleep(0.1)  # also for the rest of what is being written
            for number in set(numbers) - set(found):
                stack = self.stacks[number]
                with suppress(OSError):
                    if stack.stat().st_size:
                        kept = stack.with_name(f"{stack.stem}-{time.strftime('%Y%m%d-%H%M%S')}.txt")
                        found[number] = stack.replace(kept)
        return found


def stack_file(setup: WorkerSetup) -> Path:
    """Where a worker writes its stack when it hangs."""
    return setup.folder / "stacks" / f"worker-{setup.number}.txt"


def _main(setup: WorkerSetup, pipe: Connection) -> None:
    end_with_parent()
    leave_to_parent()
    with _stacks_on_request(stack_file(setup)):
        _work(setup, pipe)


def _work(setup: WorkerSetup, pipe: Connection) -> None:
    import torch

    from asyncrl.runtime.worker import Worker

    torch.set_num_threads(1)
    # moments of parameters without a gradient become so small, and so slow, in long runs
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    unsent: Report | None = None  # an empty one would pass for work where there was none
    sent_at = 0.0
    try:
        worker = Worker(setup)
        for report in worker.work():
            unsent = report if unsent is None else unsent + report
            if time.monotonic() - sent_at >= REPORT_INTERVAL:
                _send(pipe, unsent)
                unsent, sent_at = None, time.monotonic()
    except Exception as error:
        _send_rest(pipe, unsent)
        _send(pipe, failure_of(setup.number, error))
        sys.exit(1)
    _send_rest(pipe, unsent)
    _send(pipe, None)  # all is done
    worker.close()


def _send_rest(pipe: Connection, unsent: Report | None) -> None:
    if unsent is not None:
        _send(pipe, unsent)


def _send(pipe: Connection, message: Report | Failure | None) -> None:
    try:
        pipe.send(message)
    except OSError:
        sys.exit(1)  # the supervisor is gone


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


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it is gone."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
