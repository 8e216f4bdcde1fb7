"""Compiles loops with numba, which is needed only by those who make a labyrinth."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from asyncrl.errors import UserError
from asyncrl.installing import install_command

try:
    import numba
    from numba.core import event
except ImportError as error:
    raise UserError(
        f"Labyrinth needs numba, which is not installed: {install_command('asyncrl[labyrinth]')}"
    ) from error

Function = TypeVar("Function", bound=Callable[..., Any])

_compile: Any = partial(numba.njit, nogil=True, error_model="numpy")
_events: Any = event


def inner(function: Function) -> Function:
    """Compiles a function that only compiled functions call."""
    compiled: Function = _compile(function)
    return compiled


def entry(function: Function) -> Function:
    """Compiles a function that Python calls, and keeps the result on disk for the next process.

    numba looks only at the file of this function to tell whether the result on disk is up to date, but also at the
    values that the function closes over. So the function must close over `SOURCES`.
    """
    try:
        compiled: Function = _compile(function, cache=True)
    except RuntimeError:  # no folder can be written to
        compiled = _compile(function)
    return compiled


def _checksum() -> int:
    """A number that changes with the source code in this folder."""
    checksum = 1
    for path in sorted(Path(__file__).parent.glob("*.py")):
        checksum = zlib.crc32(path.read_bytes(), checksum)
    return checksum


SOURCES = _checksum()


class _Notice(event.Listener):
    """Says once per process that numba compiles, because it takes a while."""

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith(__package__):
            _stop_notice()
            print("Labyrinth is being compiled; the next start will be quick", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing needs to be said."""


_NOTICE = _Notice()
_events.register("numba:compile", _NOTICE)


def _stop_notice() -> None:
    _events.unregister("numba:compile", _NOTICE)
