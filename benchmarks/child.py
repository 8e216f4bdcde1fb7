"""How the scripts of measurements run, and the programs that they run one after another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import psutil

from asyncrl.cli.bench import interrupted_by_sigterm
from asyncrl.errors import RunError, UserError


def run_script(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a script with its arguments. Errors are one line, and a signal ends it with all that it started."""
    try:
        with interrupted_by_sigterm():
            main(sys.argv[1:])
    except (RunError, UserError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


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
