"""Workers that are spawned, as on Windows and macOS, instead of started from the fork server."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from asyncrl.errors import UserError
from asyncrl.runtime.fork_server import START_METHOD, process_context
from tests.runtime.processes import Start, metrics, session_processes, summary, training, wait_for

pytestmark = pytest.mark.timeout(300)


def children(process: subprocess.Popen[str]) -> list[str]:
    """Command lines of the processes that a run has started itself."""
    return [" ".join(child.cmdline()) for child in psutil.Process(process.pid).children()]


def test_spawned_workers_train_stop_and_resume(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(START_METHOD, "spawn")
    run = tmp_path / "run"
    process = start("train", "Catch", "--steps", "1G", "--until-return", "None", "--workers", "2", "--run-dir", "run")
    training(process, run)
    started = children(process)
    assert len([command for command in started if "spawn_main" in command]) == 2
    assert not [command for command in started if "forkserver" in command]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143, process.stderr.read()  # type: ignore[union-attr]
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")

    more = summary(run)["steps"] + 5_000
    process = start("train", "--resume", "--run-dir", "run", "--steps", str(more))
    _, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    steps = [line["steps"] for line in metrics(run)]
    assert steps == sorted(steps)
    assert more <= steps[-1] < more + 2 * 64 * 9  # a rollout of each worker


def test_a_start_method_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(START_METHOD, "fork")  # it would copy torch's threads and locks
    with pytest.raises(UserError, match="must be forkserver or spawn, not 'fork'"):
        process_context()
