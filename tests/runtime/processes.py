"""What tests ask of running processes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil

REPOSITORY = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])


class Run(Protocol):
    """Runs `asyncrl ARGUMENTS` in the process of the tests; returns its exit code, its output and its errors."""

    def __call__(self, *arguments: str) -> tuple[int, str, str]: ...


class Start(Protocol):
    """Starts `asyncrl ARGUMENTS`, with its output to pipes or to a terminal."""

    def __call__(self, *arguments: str, terminal: int | None = None) -> subprocess.Popen[str]: ...


def session_processes(leader: int) -> dict[int, str]:
    """Live processes of a session by number, with their command lines."""
    return {number: command for number, (_, command) in _session(leader).items()}


def workers(leader: int) -> list[int]:
    """Worker processes: children of the fork server."""
    servers = {number: parent for number, (parent, command) in _session(leader).items() if "forkserver" in command}
    return [number for number, parent in servers.items() if parent in servers]


def workers_here() -> list[psutil.Process]:
    """Worker processes of a run in this process."""
    servers = [child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline())]
    return [worker for server in servers for worker in server.children()]


def _session(leader: int) -> dict[int, tuple[int, str]]:
    """Parent and command line of each live process of a session."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):  # it has ended
            continue
        if state != "Z" and int(session) == leader:
            found[int(entry.name)] = (int(parent), command)
    return found


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} took more than {seconds} s"
        time.sleep(0.05)


def training(process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until metrics show steps."""

    def has_steps() -> bool:
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        path = folder / "metrics.jsonl"
        return path.exists() and any(line["steps"] > 0 for line in metrics(folder))

    wait_for(has_steps, 60, "the first steps")


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics so far; each must be whole, but for a last one that is being written."""
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def log(folder: Path) -> str:
    """What happened to a run."""
    file = folder / "log.txt"
    return file.read_text() if file.exists() else ""


def summary(folder: Path) -> dict[str, Any]:
    """How a run ended."""
    data: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return data
