"""What a worker's process runs: the worker, its reports, and the stack dump that the supervisor may ask for."""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from asyncrl.runtime.child_process import end_with_parent
from asyncrl.runtime.failure import Failure, Note, failure_of
from asyncrl.runtime.global_random import GlobalRandom
from asyncrl.runtime.memory_keeper import MemoryKeeper
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.signals import ignore_stop_signals
from asyncrl.types import Report

REPORT_INTERVAL = 0.1
"""Seconds between two reports of a worker."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def run_worker(setup: WorkerSetup, pipe: Connection) -> None:
    """Main function of a worker's process.

    Args:
        setup: Describes the worker.
        pipe: Takes reports and notes, then a `Failure`, or None when all is done.
    """
    end_with_parent()
    ignore_stop_signals()
    with _stack_dump_on_request(stack_file(setup)):
        _work(setup, pipe)


def stack_file(setup: WorkerSetup) -> Path:
    """Path of the file to which a worker that hangs writes its stack."""
    return setup.folder / "stacks" / f"worker-{setup.number}.txt"


def _work(setup: WorkerSetup, pipe: Connection) -> None:
    torch.set_num_threads(1)
    _keep_freed_memory()
    GlobalRandom(setup.seed).install()  # the fork server gave every worker the same state
    unsent: Report | None = None  # not an empty report, which would count as a sign of work
    sent_at = 0.0
    try:
        worker = setup.make_worker()
        keeper = MemoryKeeper(worker, lambda text: _send(pipe, Note(text)))
        for report in worker.work():
            unsent = report if unsent is None else unsent + report
            if time.monotonic() - sent_at >= REPORT_INTERVAL:
                _send(pipe, unsent)
                unsent, sent_at = None, time.monotonic()
            keeper.after_turn()
        _send_rest(pipe, unsent)
        unsent = None
        keeper.at_end()
    except Exception as error:
        _send_rest(pipe, unsent)
        _send(pipe, failure_of(setup.number, error))
        sys.exit(1)
    _send(pipe, None)  # all is done
    worker.close()


def _send_rest(pipe: Connection, unsent: Report | None) -> None:
    if unsent is not None:
        _send(pipe, unsent)


def _send(pipe: Connection, message: Report | Failure | Note | None) -> None:
    try:
        pipe.send(message)
    except OSError:
        sys.exit(1)  # the supervisor is gone


@contextmanager
def _stack_dump_on_request(path: Path) -> Iterator[None]:
    """Makes SIGUSR1 write the stacks of all threads to a file, even while the process is inside foreign code."""
    if not hasattr(signal, "SIGUSR1") or not hasattr(faulthandler, "register"):  # Windows has neither
        yield
        return
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError:  # the disk is full: the worker works without stack dumps
        yield
        return
    with file:
        faulthandler.register(signal.SIGUSR1, file, all_threads=True)
        yield


def _keep_freed_memory() -> None:
    """Makes glibc keep the memory of large temporaries for reuse instead of returning it to the system each time.

    Each page that the system hands out costs a page fault and is filled with zeros first.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
