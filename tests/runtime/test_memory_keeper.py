"""Replay memories that are saved beside checkpoints: what a run with processes has again when it is resumed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asyncrl.api import train
from asyncrl.errors import UserError
from asyncrl.runtime.checkpoint import load_newest
from tests.runtime.processes import Start, log, metrics, session_processes, wait_for
from tests.runtime.test_little_room import Disk, needs_mount
from tests.runtime.test_survival import Strikes

pytestmark = pytest.mark.timeout(300)

SETTINGS: dict[str, Any] = {
    "algorithm": "dqn",
    "workers": 2,
    "run_dir": "run",
    "replay_start": 1000,
    "replay_ratio": 1.0,
    "until_return": None,
}
SAVING = {**SETTINGS, "save_replay": True}


def told(folder: Path) -> str:
    """What the log says of memories, in the sessions since the first."""
    return log(folder).partition("resumed at")[2]


def updates_in(folder: Path, steps: int) -> int:
    """Updates in a session of so many further steps."""
    before = int(metrics(folder)[-1]["updates"])
    train("Catch", **{**SAVING, "steps": int(metrics(folder)[-1]["steps"]) + steps, "resume": True})
    return int(metrics(folder)[-1]["updates"]) - before


def test_a_resumed_run_learns_at_once(in_tmp: Path) -> None:
    train("Catch", **SAVING, steps=3000)
    assert updates_in(in_tmp / "run", 600) > 0  # fewer steps than --replay-start
    assert "empty" not in told(in_tmp / "run")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"workers": 3}, "replay memories begin empty, because they were saved with 2 workers: workers learn again"),
        ({"save_replay": False}, "replay memories begin empty, because they were not saved: workers learn again"),
        ({"runtime": "serial"}, "replay memories begin empty, because they were not saved: workers learn again"),
        ({"multi_step": 2}, "the replay memory of worker 1 begins empty: it was saved with another --multi-step"),
    ],
    ids=str,
)
def test_memories_of_other_settings_begin_empty(in_tmp: Path, change: dict[str, Any], line: str) -> None:
    train("Catch", **SAVING, steps=2000)
    train("Catch", **{**SAVING, **change, "resume": True, "steps": 2400})
    assert line in told(in_tmp / "run")
    assert (in_tmp / "run" / "replay").exists() == ("workers" in change or "multi_step" in change)


def test_a_damaged_memory_begins_empty_and_the_others_do_not(in_tmp: Path) -> None:
    train("Catch", **SAVING, steps=3000)
    [file] = (in_tmp / "run" / "replay" / "worker-1").glob("rows-*")
    file.write_bytes(file.read_bytes()[:-1000])
    assert updates_in(in_tmp / "run", 600) > 0  # worker 0 learns
    assert "warning: the replay memory of worker 1 begins empty: it is damaged (BadZipFile)" in told(in_tmp / "run")
    assert "worker 0" not in told(in_tmp / "run")


def test_after_a_kill_memories_are_as_they_were_saved_last(start: Start, in_tmp: Path) -> None:
    options = ("--algorithm", "dqn", "--workers", "2", "--replay-start", "1000", "--replay-ratio", "1")
    saved = ("--save-replay", "--checkpoint-seconds", "0.5", "--run-dir", "run", "--until-return", "None")
    process = start("train", "Catch", *options, *saved, "--steps", "1M")
    folder = in_tmp / "run"

    def is_saved() -> bool:
        shares = [folder / "replay" / f"worker-{number}" / "share.npz" for number in range(2)]
        return all(share.exists() for share in shares) and load_newest(folder / "checkpoints")[0].state.steps > 2000

    wait_for(lambda: (folder / "metrics.jsonl").exists() and metrics(folder), 60, "the start")
    wait_for(is_saved, 60, "two saves")
    process.kill()
    process.wait()
    wait_for(lambda: not session_processes(process.pid), 60, "the end of its processes")
    state = load_newest(folder / "checkpoints")[0].state
    train("Catch", resume=True, run_dir="run", steps=state.steps + 600)
    assert "empty" not in told(folder)
    assert load_newest(folder / "checkpoints")[0].state.updates > state.updates  # in fewer than --replay-start steps


def test_a_worker_that_is_replaced_begins_with_an_empty_memory(in_tmp: Path) -> None:
    strikes = Strikes(in_tmp / "run", signal.SIGKILL)
    train("Catch", **{**SAVING, "steps": 10**9, "checkpoint_seconds": 0.2}, callbacks=[strikes])
    assert "; it is restarted with an empty replay memory (1 of 3 within ten minutes)" in log(in_tmp / "run")


def test_a_disk_without_room_for_the_memories_is_one_line(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match=r"needs 0.2 GB on the disk of run, and 0.0 GB are free: use a smaller"):
        train("Catch", **SAVING, replay_capacity=1_000_000, steps=1000)


@needs_mount
def test_a_full_disk_leaves_the_memories_as_they_were_saved_last(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    options = ("--algorithm", "dqn", "--workers", "1", "--replay-capacity", "4000", "--replay-start", "500")
    saved = ("--save-replay", "--checkpoint-seconds", "0.5", "--run-dir", "run", "--until-return", "None")
    disk = Disk(tmp_path / "disk", "4m", "train", "Catch", *options, *saved, "--steps", "1G", "--replay-ratio", "0.2")
    try:
        share = disk.path / "run" / "replay" / "worker-0" / "share.npz"
        wait_for(share.exists, 60, "the first save")
        disk.fill()
        disk.says("the replay memory of worker 0 cannot be written (No space left on device): training goes on")
        before = share.read_bytes()
        os.kill(disk.train_process(), signal.SIGTERM)
        disk.says("a resumed run has it as it was when it was saved last")
        disk.says("exit code")
        assert share.read_bytes() == before
    finally:
        disk.close()
