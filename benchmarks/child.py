"""Programs that a measurement runs one after another."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import psutil

from asyncrl.errors import RunError


def output_of(command: Sequence[str], what: str) -> str:
    """What a program prints. If this program is interrupted, the other one ends with all processes that it started.

    Args:
        command: The program and its arguments.
        what: What the message of a failure calls it.

    Raises:
        RunError: It failed.
    """
    pipe = subprocess.PIPE
    process = psutil.Popen(list(command), stdout=pipe, stderr=pipe, text=True)
    try:
        output, errors = process.communicate()
    except KeyboardInterrupt:
        for one in (*process.children(recursive=True), process):
            one.kill()
        raise
    if process.returncode:
        raise RunError(f"{what} failed:\n{errors.strip()[-2000:]}")
    return str(output)
