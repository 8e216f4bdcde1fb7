"""Workers as real processes: started, killed, crashed, interrupted, orphaned."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from asyncrl.api import train
from asyncrl.callbacks import Callback, Started, Updated
from asyncrl.runtime.checkpoint import load_newest
from tests.runtime.processes import PYTHONPATH, Run, Start, log, session_processes, summary, training, wait_for, workers

pytestmark = pytest.mark.timeout(300)


LONG = ("train", "Catch", "--steps", "1G", "--until-return", "None", "--workers", "2", "--run-dir", "run")


def blocks(process: int, number: int) -> bool:
    """Whether a process blocks a signal."""
    [mask] = re.findall(r"SigBlk:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(("number", "code", "to_all"), [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, False)])
def test_a_signal_saves_and_ends_everything(start: Start, tmp_path: Path, number: int, code: int, to_all: bool) -> None:
    process = start(*LONG)
    training(process, tmp_path / "run")
    assert not any(blocks(worker, signal.SIGINT) for worker in workers(process.pid))  # what they start would inherit it
    if to_all:  # as a terminal's Ctrl-C does
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(60) == code
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")
    checkpoint, warnings = load_newest(tmp_path / "run" / "checkpoints")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert warnings == []
    assert checkpoint.state.steps == summary["steps"] > 0
    assert summary["status"] == "stopped"
    assert "--resume" in process.stdout.read()


def test_ctrl_c_while_the_run_starts_leaves_nothing_and_is_silent(start: Start, tmp_path: Path) -> None:
    process = start(*LONG)
    wait_for(lambda: (tmp_path / "run" / ".lock").exists(), 60, "the folder of the run")
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # modules are still being imported, by the fork server too
    assert process.wait(60) in (130, -signal.SIGINT)  # either is 130 in a shell
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")
    assert process.stderr.read() == "interrupted\n"
    assert not (tmp_path / "run").exists()


def named_shared_memory(leader: int) -> list[str]:
    """What the processes of a session have mapped of shared memory that has a name, and would outlive them."""
    lines: list[str] = []
    for number in session_processes(leader):
        with contextlib.suppress(OSError):  # it has ended
            lines += Path(f"/proc/{number}/maps").read_text().splitlines()
    return [line for line in lines if "/dev/shm/" in line and "(deleted)" not in line]


@pytest.mark.parametrize("killed", ["the run", "all but the fork server"])
def test_workers_end_with_their_parent(start: Start, tmp_path: Path, temporary: Path, killed: str) -> None:
    process = start(*LONG)
    training(process, tmp_path / "run")
    assert list(temporary.glob("pymp-*"))  # the folder of the fork server's socket
    assert named_shared_memory(process.pid) == []
    for number in [process.pid] if killed == "the run" else [process.pid, *workers(process.pid)]:
        os.kill(number, signal.SIGKILL)
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")
    assert list(temporary.iterdir()) == []


def test_a_second_training_in_a_folder_is_refused(start: Start, run: Run, tmp_path: Path) -> None:
    first = start(*LONG)
    training(first, tmp_path / "run")
    experiment = (tmp_path / "run" / "experiment.yaml").read_text()
    for how in ("--resume", "--overwrite"):
        code, _, error = run("train", "Catch", how, "--run-dir", "run", "--steps", "2G")
        assert code == 2
        assert "another process works on run" in error
    assert first.poll() is None
    assert sorted(path.name for path in (tmp_path / "run").glob("experiment*")) == ["experiment.yaml"]
    assert (tmp_path / "run" / "experiment.yaml").read_text() == experiment
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 143


def test_a_killed_training_leaves_no_lock(start: Start, run: Run, tmp_path: Path) -> None:
    first = start(*LONG)
    training(first, tmp_path / "run")
    first.kill()
    assert first.wait(60) == -signal.SIGKILL
    assert run(*LONG, "--overwrite", "--steps", "2k")[0] == 0


class Terminates(Callback):
    """Sends SIGTERM to the run at its first updates."""

    def on_start(self, started: Started) -> None:
        self.sent = False

    def on_updates(self, updates: Updated) -> None:
        if not self.sent:
            self.sent = True
            signal.raise_signal(signal.SIGTERM)


def test_a_stopped_run_resumes_where_it_was(run: Run, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 10**9, "until_return": None, "workers": 2, "run_dir": "run"}
    assert train("Catch", **settings, callbacks=[Terminates()]).exit_code == 143
    steps = json.loads((tmp_path / "run" / "summary.json").read_text())["steps"]
    more = steps + 5_000
    code, _, error = run("train", "--resume", "--run-dir", "run", "--steps", str(more))
    assert code == 0, error
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
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "episodes 5" in done.stdout


def test_a_run_goes_on_when_nobody_reads_its_output(start: Start, tmp_path: Path) -> None:
    process = start("train", "Catch", "--steps", "300k", "--until-return", "None", "--workers", "2", "--run-dir", "run")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert summary(tmp_path / "run")["steps"] >= 300_000
    assert "warning: nobody reads the output any more: training goes on without" in log(tmp_path / "run")
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_a_temporary_folder_with_a_long_name_is_one_line(tmp_path: Path, temporary: Path) -> None:
    (temporary / ("long" * 30)).mkdir()
    process = subprocess.run(
        [sys.executable, "-m", "asyncrl", "train", "Catch"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "TMPDIR": str(temporary / ("long" * 30))},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert "set TMPDIR to another folder" in process.stderr
