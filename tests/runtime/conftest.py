"""Real processes for tests, none of which outlives its test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.processes import PYTHONPATH, Start


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files; its name is short, because sockets lie there."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def start(tmp_path: Path, temporary: Path) -> Iterator[Start]:
    """Starts `asyncrl ARGUMENTS` in an empty folder; kills what is left of it at the end."""
    started: list[subprocess.Popen[str]] = []

    def launch(*arguments: str, terminal: int | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "asyncrl", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "TMPDIR": str(temporary), "TERM": "xterm"},
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
