"""What a machine must have for training, checked."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from asyncrl import kernels
from asyncrl.config import available_cores

FILES_PER_WORKER = 16
SHARED_MEMORY = 64 * 2**20


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    verdict: Literal["good", "note", "bad"]  # note: training works, but you may want to know
    text: str


def check_machine() -> list[Check]:
    """All checks, in the order in which they matter."""
    return [check() for check in (_python, _torch, _kernels, _cores, _open_files, _shared_memory, _writable, _atari)]


def _python() -> Check:
    gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return Check("python", "good", f"{platform.python_version()}{'' if gil() else ', free-threaded'}")


def _torch() -> Check:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return Check("torch", "bad", f"cannot be imported ({error}): pip install torch")
    return Check("torch", "good", f"{torch.__version__}; each worker uses one thread")


def _kernels() -> Check:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = kernels.problem()
    if problem:
        return Check(
            "kernels", "note", f'torch\'s own, for {problem}; faster with pip install --upgrade "asyncrl[fast]"'
        )
    name = importlib.import_module("llvmlite.binding").get_host_cpu_name()
    return Check("kernels", "good", f"convolutions and updates are compiled for this processor ({name})")


def _cores() -> Check:
    cores, total = available_cores(), os.cpu_count() or 1
    text = f"{cores} of {total} may be used: --workers auto starts {cores} worker{'s' if cores > 1 else ''}"
    return Check("cores", "note" if cores == 1 else "good", text)


def _open_files() -> Check:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return Check("open files", "good", "no limit")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 64 + FILES_PER_WORKER * available_cores()
    if limit != resource.RLIM_INFINITY and limit < needed:
        return Check(
            "open files", "bad", f"a process may open {limit}, {needed} are needed: run 'ulimit -n 4096' first"
        )
    return Check("open files", "good", f"a process may open {'any number' if limit < 0 else limit}")


def _shared_memory() -> Check:
    folder = "/dev/shm"
    if not os.path.isdir(folder):
        return Check("shared memory", "good", f"{folder} is not used on this system")
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**20:,.0f} MB free in {folder}"
    if free < SHARED_MEMORY:
        return Check("shared memory", "note", f"{text}; in a container, start it with --shm-size=256m")
    return Check("shared memory", "good", text)


def _writable() -> Check:
    try:
        with tempfile.TemporaryFile(dir="."):
            pass
    except OSError as error:
        return Check(
            "run folder", "bad", f"{os.getcwd()} cannot be written ({error.strerror}): use --run-dir elsewhere"
        )
    free = shutil.disk_usage(".").free / 2**30
    return Check("run folder", "note" if free < 1 else "good", f"{free:,.1f} GB free in {os.getcwd()}")


def _atari() -> Check:
    try:
        roms = importlib.import_module("ale_py.roms")
        count = len(roms.get_all_rom_ids())
    except Exception as error:
        return Check("atari", "bad", f"ale-py does not work ({error}): pip install --upgrade ale-py")
    return Check("atari", "good", f"{count} games")
