"""How processes are started: from a fork server that has imported torch, or spawned where there is none."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from multiprocessing.context import BaseContext

from asyncrl.errors import UserError

PRELOADED = [
    "asyncrl.runtime.fork_server_exit",
    "asyncrl.runtime.worker_process",
    "asyncrl.runtime.evaluator",
    "asyncrl.envs.atari",
    "asyncrl.kernels.convolution",
]
"""Modules that the fork server imports. Modules that cannot be imported on this machine are skipped."""

ONE_THREAD = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"
"""Environment variables that give the number of threads of a process."""

START_METHOD = "ASYNCRL_START_METHOD"
"""Environment variable that chooses the start method. It exists for tests: spawn on Linux stands in for Windows."""


def process_context() -> BaseContext:
    """Returns the start method: forkserver where the system has it, otherwise spawn; never fork.

    The fork server imports torch once and every worker starts from there. So workers start quickly and share the
    memory of its libraries.

    Raises:
        UserError: The environment variable `ASYNCRL_START_METHOD` names a method that does not exist here.
    """
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    methods = [name for name in ("forkserver", "spawn") if name in multiprocessing.get_all_start_methods()]
    method = os.environ.get(START_METHOD, methods[0])
    if method not in methods:
        raise UserError(f"{START_METHOD} must be {' or '.join(methods)}, not {method!r}: change or unset it")
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    return context


def start_fork_server() -> None:
    """Starts the fork server, so that it imports its modules while this process imports its own.

    It starts with SIGINT blocked, because Ctrl-C on a terminal reaches it too and would interrupt its imports.

    Raises:
        UserError: Its socket cannot be created.
    """
    if process_context().get_start_method() == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # it would unblock SIGINT
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            forkserver.ensure_running()
        except OSError as error:
            folder = tempfile.gettempdir()
            reason = f"no socket can be made in {folder} ({error.strerror or error})"
            raise UserError(f"processes cannot be started: {reason}; set TMPDIR to another folder") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
