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

from asyncrl.cli import main
from tests.runtime.processes import PYTHONPATH, Run, Start, workers_here


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files; its name is short, because sockets lie there."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `asyncrl ARGUMENTS` in the tests' process and an empty folder; no worker may be left at the end.

    It is quicker than `start`, and meant for what ends by itself: the worker processes are real, and only the imports
    of this process and of its fork server are shared by all tests.
    """
    monkeypatch.chdir(tmp_path)

    def finish(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        assert not workers_here()
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return finish


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
