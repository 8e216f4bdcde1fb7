"""Whether a run is being trained, as its folder and the processes tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from asyncrl import run_state
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.run_state import SILENT_SECONDS, state_of


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that was started an hour ago and has written nothing else."""
    folder = RunFolder(tmp_path)
    folder.experiment_file.write_text("environment: Catch-v0\n")
    started(folder, 3600)
    return folder


def started(run: RunFolder, seconds_ago: float) -> None:
    os.utime(run.experiment_file, (time.time() - seconds_ago,) * 2)


def write_workers(run: RunFolder, supervisor: object, seconds_ago: float) -> None:
    data = {"written_at": time.time() - seconds_ago, "supervisor": supervisor, "workers": []}
    run.workers_file.write_text(json.dumps(data))


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_start(run: RunFolder) -> None:
    assert (state_of(run).kind, state_of(run).is_live) == ("silent", False)
    started(run, 1)
    assert (state_of(run).kind, state_of(run).is_live) == ("starting", True)


def test_a_live_process_trains_however_long_it_is_silent(run: RunFolder) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write_workers(run, process.pid, 0.0)
        assert state_of(run).text == "training"
        write_workers(run, process.pid, -SILENT_SECONDS)  # a clock that is ahead
        assert state_of(run).text == "training"
        write_workers(run, process.pid, 3.0)
        assert state_of(run).kind == "training"
        write_workers(run, process.pid, 600.0)  # before that process was there
        assert state_of(run).kind == "gone"
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:  # nobody has waited for it yet
            time.sleep(0.01)
        write_workers(run, process.pid, 0.0)
        assert state_of(run).kind == "gone"
    finally:
        process.kill()
        process.communicate()


def test_a_long_wait_is_told_of(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_state, "CLOCK_SECONDS", 3600.0)  # these tests have not run for so long
    write_workers(run, os.getpid(), SILENT_SECONDS + 60)
    assert state_of(run).text == "training, without a new line of metrics for 1 min 30 s"


def test_a_dead_process_and_one_that_took_its_place(run: RunFolder, dead: int) -> None:
    write_workers(run, dead, 10.0)
    state = state_of(run)
    assert (state.kind, state.is_live) == ("gone", False)
    assert f"process {dead}, which trained it, is gone" in state.text
    started(run, 2)  # it was resumed
    assert state_of(run).kind == "starting"


@pytest.mark.parametrize(("status", "ended_by"), [("done", "goal"), ("stopped", "SIGINT"), ("failed", "failure")])
def test_ends(run: RunFolder, dead: int, status: str, ended_by: str) -> None:
    write_workers(run, dead, 10.0)
    run.write_summary({"status": status, "ended_by": ended_by})
    assert (state_of(run).kind, state_of(run).text) == (status, f"{status} ({ended_by})")


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"supervisor": null, "written_at": 1}'])
def test_damage_is_one_line(run: RunFolder, text: str) -> None:
    run.workers_file.write_text(text)
    with pytest.raises(UserError, match=r"workers\.json"):
        state_of(run)
    run.summary_file.write_text(text)
    with pytest.raises(UserError, match=r"summary\.json"):
        state_of(run)


@pytest.mark.parametrize("number", [-1, 10**30])
def test_numbers_that_no_process_has(run: RunFolder, number: int) -> None:
    write_workers(run, number, 10.0)
    assert state_of(run).kind == "gone"
