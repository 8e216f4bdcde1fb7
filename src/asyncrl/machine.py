"""Checks whether this machine is fit for training."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from asyncrl import kernels
from asyncrl.check import Check
from asyncrl.config import available_cores
from asyncrl.errors import UserError
from asyncrl.formatting import counted
from asyncrl.installing import install_command
from asyncrl.run_folder import locked

SHARED_MEMORY = 64 * 2**20
"""Bytes of free shared memory that a machine should have."""
SLACK = 2**18
"""Bytes that are left free in a folder for shared memory, because other programs use it too."""


def _python() -> Check:
    gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return Check("python", "good", f"{platform.python_version()}{'' if gil() else ', free-threaded'}")


def _torch() -> Check:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return Check("torch", "bad", f"cannot be imported ({error}): {install_command('torch')}")
    return Check("torch", "good", f"{torch.__version__}; each worker uses one thread")


def _kernels() -> Check:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = kernels.problem()
    if problem:
        missing = importlib.util.find_spec("llvmlite") is None
        remedy = install_command("asyncrl[fast]") if missing else install_command("llvmlite", upgrade=True)
        return Check("kernels", "note", f"not compiled, because {problem}: {remedy} makes training faster")
    name = importlib.import_module("llvmlite.binding").get_host_cpu_name()
    return Check("kernels", "good", f"convolutions and updates are compiled for this processor ({name})")


def _cores() -> Check:
    cores, total = available_cores(), os.cpu_count() or 1
    text = f"{cores} of {total} can be used: --workers auto starts {counted(cores, 'worker')}"
    return Check("cores", "note" if cores == 1 else "good", text)


def allow_open_files(workers: int) -> None:
    """Makes sure that this process may open enough files for the pipes to so many workers.

    Raises:
        UserError: The system does not allow it.
    """
    needed, limits = files_needed(workers), _file_limits()
    if limits is None or min(limits) >= needed:
        return
    if limits[1] < needed:
        raise UserError(
            f"a process may open {limits[1]:g} files, and {workers} workers need {needed}: "
            f"run 'ulimit -n {max(4096, needed)}' first, or use fewer --workers"
        )
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def files_needed(workers: int) -> int:
    """Number of files that a process with so many workers opens, with some to spare."""
    return 64 + 4 * workers


def _file_limits() -> tuple[float, float] | None:
    """The soft and hard limit of open files of this process; None on Windows, which has no such limits."""
    limits = None
    if sys.platform != "win32":
        import resource

        soft, hard = (
            math.inf if limit == resource.RLIM_INFINITY else limit
            for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
        )
        limits = soft, hard
    return limits


def _open_files() -> Check:
    limits, needed = _file_limits(), files_needed(available_cores())
    if limits is None or limits[1] == math.inf:
        return Check("open files", "good", "a process may open any number")
    if limits[1] < needed:
        text = f"a process may open {limits[1]:g}, {needed} are needed: run 'ulimit -n 4096' first"
        return Check("open files", "bad", text)
    most = int(limits[1] - files_needed(0)) // (files_needed(1) - files_needed(0))
    return Check("open files", "good", f"a process may open {limits[1]:g}, enough for {most:,} workers")


def _shared_folders() -> dict[str, int]:
    """Folders in which multiprocessing can put shared memory, with their free bytes; it takes the first with room."""
    folders = [folder for folder in ("/dev/shm", tempfile.gettempdir()) if os.path.isdir(folder)]
    return {folder: shutil.disk_usage(folder).free for folder in folders}


def check_shared_memory(sizes: Iterable[int]) -> None:
    """Makes sure that shared vectors have room; the system would kill a process that writes into missing memory.

    Args:
        sizes: Bytes of each vector.

    Raises:
        UserError: There is not enough room.
    """
    free, needed = _shared_folders(), list(sizes)
    for size in needed:
        folder = next((folder for folder, room in free.items() if room >= size + SLACK), None)
        if folder is None:
            places = " or ".join(free)
            raise UserError(
                f"no room for {sum(needed) / 2**20:,.0f} MB of shared memory in {places}: free some space, set TMPDIR "
                "to another folder, or start the container with a larger --shm-size"
            )
        free[folder] -= size


def check_memory(needed: int, remedy: str) -> None:
    """Makes sure that what is kept in memory will fit into it.

    Args:
        needed: Bytes.
        remedy: What to do if it does not fit.

    Raises:
        UserError: It does not fit.
    """
    import psutil

    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(f"the run needs {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free: {remedy}")


def check_disk(folder: Path, needed: int, remedy: str) -> None:
    """Makes sure that what is to be kept in a folder will fit there, beside what is kept there already.

    Args:
        folder: The folder.
        needed: Bytes, including those that lie in the folder already.
        remedy: What to do if it does not fit.

    Raises:
        UserError: It does not fit.
    """
    room = shutil.disk_usage(folder).free + sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if needed > room:
        raise UserError(
            f"the run needs {needed / 1e9:,.1f} GB on the disk of {folder}, and {room / 1e9:,.1f} GB are free: {remedy}"
        )


def _shared_memory() -> Check:
    free = _shared_folders()
    best = max(free, key=lambda folder: free[folder])
    text = ", ".join(f"{size / 2**20:,.0f} MB free in {folder}" for folder, size in free.items())
    if free[best] < SHARED_MEMORY:
        return Check("shared memory", "bad", f"{text}: free some space, or start the container with --shm-size=256m")
    first = next(iter(free))
    if free[first] < SHARED_MEMORY:
        return Check("shared memory", "note", f"{text}; large networks will use {best}")
    return Check("shared memory", "good", text)


def _writable() -> Check:
    try:
        with tempfile.TemporaryDirectory(dir=".", prefix=".asyncrl-") as name, locked(Path(name)):
            pass
    except (OSError, UserError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return Check(
            "run folder", "bad", f"{os.getcwd()} cannot be used ({reason}): choose another folder with --run-dir"
        )
    free = shutil.disk_usage(".").free / 2**30
    return Check("run folder", "note" if free < 1 else "good", f"{free:,.1f} GB free in {os.getcwd()}")


def _home() -> Check:
    home = os.path.expanduser("~")
    if os.access(home, os.W_OK):
        return Check("home", "good", home)
    return Check("home", "good", f"{home} is not writable, but nothing is kept there")


def _encoding() -> Check:
    encoding = sys.getfilesystemencoding()
    if encoding.lower() in ("utf-8", "utf8"):
        return Check("file names", "good", "may contain any characters")
    return Check("file names", "note", f"are encoded in {encoding}: names with other characters fail; set PYTHONUTF8=1")


def _atari() -> Check:
    try:
        roms = importlib.import_module("ale_py.roms")
        count = len(roms.get_all_rom_ids())
    except Exception as error:
        return Check("atari", "bad", f"ale-py does not work ({error}): {install_command('ale-py', upgrade=True)}")
    return Check("atari", "good", f"{count} games")


CHECKS = (_python, _torch, _kernels, _cores, _open_files, _shared_memory, _writable, _home, _encoding, _atari)


def check_machine() -> list[Check]:
    """Runs all checks, the most important first."""
    return [check() for check in CHECKS]
