"""Workers as real processes: started, killed, crashed, interrupted, orphaned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncrl.runtime.checkpoint import load_newest

pytestmark = pytest.mark.timeout(90)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Starts `asyncrl ARGUMENTS` in an empty folder; kills what is left of it at the end."""
    started: list[subprocess.Popen[str]] = []

    def launch(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "asyncrl", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
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
        process.stdout.close()  # type: ignore[union-attr]
        process.stderr.close()  # type: ignore[union-attr]


def session_processes(leader: int) -> dict[int, str]:
    """Live processes of a session by number, with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):
            continue
        if fields[0] != "Z" and int(fields[3]) == leader:
            found[int(entry.name)] = command
    return found


def workers(leader: int) -> list[int]:
    """Worker processes: children of the fork server."""
    servers = [number for number, command in session_processes(leader).items() if "forkserver" in command]
    found = []
    for number in servers:
        parent = int(Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[1])
        if parent in servers:
            found.append(number)
    return found


def wait_for(condition: object, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what} took more than {seconds} s"
        time.sleep(0.05)


def training(process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until metrics show steps."""

    def has_steps() -> bool:
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        path = folder / "metrics.jsonl"
        return path.exists() and any(json.loads(line)["steps"] > 0 for line in path.read_text().splitlines())

    wait_for(has_steps, 60, "the first steps")


LONG = ("train", "Catch", "--steps", "1G", "--until-return", "None", "--workers", "2", "--run-dir", "run")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("to_all", [False, True])
def test_a_signal_saves_and_ends_everything(
    start: object, tmp_path: Path, number: int, code: int, to_all: bool
) -> None:
    process = start(*LONG)  # type: ignore[operator]
    training(process, tmp_path / "run")
    sent = time.monotonic()
    if to_all:  # as a terminal's Ctrl-C does
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(20) == code
    assert time.monotonic() - sent < 5
    wait_for(lambda: not session_processes(process.pid), 5, "the end of all processes")
    checkpoint, warnings = load_newest(tmp_path / "run" / "checkpoints")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert warnings == []
    assert checkpoint.state["steps"] == summary["steps"] > 0
    assert summary["status"] == "stopped"
    assert "--resume" in process.stdout.read()


def test_a_killed_worker_is_a_clear_error(start: object, tmp_path: Path) -> None:
    process = start(*LONG)  # type: ignore[operator]
    training(process, tmp_path / "run")
    found = workers(process.pid)
    assert len(found) == 2
    os.kill(found[0], signal.SIGKILL)
    assert process.wait(20) == 1
    error = process.stderr.read()
    assert f"(process {found[0]}) was killed by SIGKILL" in error
    assert "Traceback" not in error
    wait_for(lambda: not session_processes(process.pid), 5, "the end of all processes")
    assert load_newest(tmp_path / "run" / "checkpoints")[0].state["steps"] > 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"


def test_a_crash_in_an_environment_shows_its_traceback(start: object, tmp_path: Path) -> None:
    process = start(  # type: ignore[operator]
        "train", "tests.environments:test/Crash-v0", "--env-option", "after=3000", "--workers", "2", "--run-dir", "run"
    )
    assert process.wait(60) == 1
    error = process.stderr.read()
    assert "failed:" in error
    assert "worker" in error
    assert "ZeroDivisionError: the simulator broke" in error
    assert "what was learned is saved in run" in error
    wait_for(lambda: not session_processes(process.pid), 5, "the end of all processes")
    assert load_newest(tmp_path / "run" / "checkpoints")[0].state["steps"] > 0


def test_workers_end_with_their_parent(start: object, tmp_path: Path) -> None:
    process = start(*LONG)  # type: ignore[operator]
    training(process, tmp_path / "run")
    segments = set(os.listdir("/dev/shm"))
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not session_processes(process.pid), 5, "the end of all processes")
    assert set(os.listdir("/dev/shm")) <= segments  # nothing new; what is shared has no name there


def test_a_second_training_in_a_folder_is_refused(start: object, tmp_path: Path) -> None:
    first = start(*LONG)  # type: ignore[operator]
    training(first, tmp_path / "run")
    experiment = (tmp_path / "run" / "experiment.yaml").read_text()
    for how in ("--resume", "--overwrite"):
        second = start("train", "Catch", how, "--run-dir", "run", "--steps", "2G")  # type: ignore[operator]
        assert second.wait(60) == 2
        assert "another process works on run" in second.stderr.read()
    assert first.poll() is None
    assert sorted(path.name for path in (tmp_path / "run").glob("experiment*")) == ["experiment.yaml"]
    assert (tmp_path / "run" / "experiment.yaml").read_text() == experiment
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 143


def test_a_killed_training_leaves_no_lock(start: object, tmp_path: Path) -> None:
    first = start(*LONG)  # type: ignore[operator]
    training(first, tmp_path / "run")
    first.kill()
    assert first.wait(20) == -signal.SIGKILL
    again = start(*LONG, "--overwrite")  # type: ignore[operator]
    training(again, tmp_path / "run")


def test_a_stopped_run_resumes_where_it_was(start: object, tmp_path: Path) -> None:
    process = start(*LONG)  # type: ignore[operator]
    training(process, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    steps = json.loads((tmp_path / "run" / "summary.json").read_text())["steps"]
    more = steps + 5_000
    resumed = start("train", "--resume", "--run-dir", "run", "--steps", str(more))  # type: ignore[operator]
    assert resumed.wait(60) == 0, resumed.stderr.read()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    counts = [line["steps"] for line in lines]
    assert counts == sorted(counts)
    assert more <= counts[-1] < more + 2 * 64 * 9  # a rollout of each worker


def test_training_from_a_script(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import asyncrl\n"
        "if __name__ == '__main__':\n"
        "    result = asyncrl.train('Catch', steps=3000, workers=2, run_dir='run')\n"
        "    agent = result.load()\n"
        "    print('episodes', agent.evaluate(episodes=5).episodes)\n"
    )
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "episodes 5" in done.stdout


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("import asyncrl\nasyncrl.train('Catch', steps=3000, workers=2, run_dir='run')\n")
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert '__name__ == "__main__"' in done.stderr
