"""What a run survives: each test does the bad thing to real processes."""

from __future__ import annotations

import os
import pty
import random
import re
import select
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from asyncrl.api import train
from asyncrl.callbacks import Callback, CheckpointSaved, MetricsWritten, Updated
from asyncrl.errors import RunError
from asyncrl.runtime.checkpoint import checkpoint_folders, load_newest
from tests.runtime.processes import (
    Run,
    Start,
    log,
    metrics,
    session_processes,
    summary,
    training,
    wait_for,
    workers,
    workers_here,
)

pytestmark = pytest.mark.timeout(300)

LONG = ("train", "Catch", "--steps", "1G", "--until-return", "None", "--workers", "2", "--run-dir", "run")

ENDLESS: dict[str, Any] = {"steps": 10**9, "until_return": None, "workers": 2}


def faulty(fault: str, *options: str, after: int = 500, once: bool = False, steps: str = "30k") -> tuple[str, ...]:
    """Trains on an environment that does something bad."""
    marker = ("marker=happened",) if once else ()
    environment = ("--env-option", f"fault={fault}", f"after={after}", *marker)
    known = ("--steps", steps, "--workers", "2", "--run-dir", "run")
    return "train", "tests.environments:test/Faulty-v0", *environment, *known, *options


def end(process: subprocess.Popen[str], code: int, seconds: float = 60) -> str:
    """Waits for the end of a training that must leave no process behind; returns what it said of errors."""
    assert process.wait(seconds) == code, process.stderr.read()  # type: ignore[union-attr]
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")
    return process.stderr.read()  # type: ignore[union-attr]


def steps_of(folder: Path) -> int:
    return int(metrics(folder)[-1]["steps"])


def goes_on(process: subprocess.Popen[str], folder: Path, steps: int) -> None:
    """Waits until metrics show more steps than these, with two workers."""

    def has_gone_on() -> bool:
        assert process.poll() is None
        return metrics(folder)[-1]["steps"] > steps and metrics(folder)[-1]["workers"] == 2

    wait_for(has_gone_on, 60, "going on with both workers")


class BothWorkAfterARestart(Callback):
    """Ends a run when each of its two workers has made an update after one of them was restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.heard = folder, set[int]()

    def on_updates(self, updates: Updated) -> bool:
        if "it is restarted" in log(self.folder):
            self.heard.add(updates.worker)
        return self.heard == {0, 1}


class Strikes(BothWorkAfterARestart):
    """Sends a signal to a worker as soon as there are updates."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(folder)
        self.number, self.victim = number, 0

    def on_updates(self, updates: Updated) -> bool:
        if not self.victim:
            self.victim = workers_here()[0].pid
            os.kill(self.victim, self.number)
        return super().on_updates(updates)


def test_a_killed_worker_is_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    strikes = Strikes(folder, signal.SIGKILL)
    result = train("Catch", **ENDLESS, run_dir=folder, callbacks=[strikes])
    reason = f"(process {strikes.victim}) was killed by SIGKILL (perhaps the system ran out of memory)"
    told = f"{reason}; it is restarted (1 of 3 within ten minutes)"
    assert told in log(folder)
    assert result.summary["restarts"] == 1
    assert told in " ".join(capfd.readouterr().out.split())
    assert not workers_here()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "failed with ZeroDivisionError: the simulator broke"),
        ("vanish", "ended with exit code 0"),
    ],
)
def test_a_worker_that_fails_once_is_replaced_and_the_run_is_done(
    run: Run, tmp_path: Path, fault: str, reason: str
) -> None:
    assert run(*faulty(fault, once=True))[0] == 0
    assert re.search(rf"warning: worker \d .*{reason}; it is restarted", log(tmp_path / "run"))
    if fault == "raise":
        assert 'raise ZeroDivisionError("the simulator broke")' in log(tmp_path / "run")
    assert summary(tmp_path / "run")["status"] == "done"
    assert summary(tmp_path / "run")["restarts"] == 1
    assert summary(tmp_path / "run")["steps"] >= 30_000


class KillsOneAndThenTheOther(Callback):
    """Kills a worker as soon as there are updates, and the other one when a line of metrics has one worker."""

    def __init__(self) -> None:
        self.victims: list[int] = []

    def on_updates(self, updates: Updated) -> None:
        if not self.victims:
            self.kill()

    def on_metrics(self, metrics: MetricsWritten) -> None:
        if metrics.line["workers"] == 1 and len(self.victims) == 1:
            self.kill()

    def kill(self) -> None:
        self.victims.append(workers_here()[0].pid)
        os.kill(self.victims[-1], signal.SIGKILL)


def test_without_restarts_left_it_goes_on_with_fewer_and_ends_with_an_error(in_tmp: Path) -> None:
    folder, kills = in_tmp / "run", KillsOneAndThenTheOther()
    with pytest.raises(RunError) as error:
        train("Catch", **ENDLESS, restarts=0, run_dir="run", callbacks=[kills])
    assert "no restarts left, and the run goes on with 1 worker" in log(folder)
    first, second = kills.victims
    assert f"(process {first}) was killed by SIGKILL" in log(folder)
    assert re.match(rf"no worker is left: worker [01] \(process {second}\) was killed by SIGKILL", str(error.value))
    assert "what was learned is saved in run, up to step" in str(error.value)
    assert load_newest(folder / "checkpoints")[0].state.steps == summary(folder)["steps"] > 0
    assert summary(folder)["status"] == "failed"


def test_an_environment_that_always_raises_ends_the_run_with_its_traceback(run: Run, tmp_path: Path) -> None:
    code, _, error = run(*faulty("raise", "--restarts", "1", steps="1M"))
    assert code == 1
    assert "no worker is left: worker" in error
    assert "ZeroDivisionError: the simulator broke" in error
    assert "environments.py" in error
    assert log(tmp_path / "run").count("it is restarted (1 of 1 within ten minutes)") == 2
    assert load_newest(tmp_path / "run" / "checkpoints")[0].state.steps > 0


def test_a_worker_that_never_gets_through_a_rollout_is_restarted_after_pauses(run: Run, tmp_path: Path) -> None:
    assert run(*faulty("raise", "--restarts", "2", "--workers", "1", after=0, steps="1M"))[0] == 1
    text = log(tmp_path / "run")
    assert "simulator broke; it is restarted (1 of 2 within ten minutes)" in text
    assert "simulator broke; it is restarted in 1 s (2 of 2 within ten minutes)" in text


def test_a_worker_that_hangs_shows_its_stack_and_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    hangs_once = {"fault": "hang", "marker": str(tmp_path / "happened")}
    settings = {**ENDLESS, "environment_options": hangs_once, "stall_timeout": 3.0}
    train("tests.environments:test/Faulty-v0", **settings, run_dir=folder, callbacks=[BothWorkAfterARestart(folder)])
    found = re.search(r"gave no sign of life for 3 s; its stack is in (\S+); it is restarted", log(folder))
    assert found
    stack = Path(found[1]).read_text()
    assert "environments.py" in stack
    assert "in step" in stack
    assert [path.name for path in (folder / "stacks").iterdir()] == [Path(found[1]).name]
    assert summary(folder)["ended_by"] == "callback"


def test_a_stopped_worker_is_replaced_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    strikes = Strikes(folder, signal.SIGSTOP)
    train("Catch", **ENDLESS, stall_timeout=3.0, run_dir=folder, callbacks=[strikes])
    text = f"(process {strikes.victim}) gave no sign of life for 3 s; its stack could not be had; it is restarted"
    assert text in log(folder)
    assert not workers_here()


def test_a_suspended_run_goes_on_without_blaming_its_workers(start: Start, tmp_path: Path) -> None:
    process, run = start(*LONG, "--stall-timeout", "3"), tmp_path / "run"
    training(process, run)
    everyone = list(session_processes(process.pid))
    for number in everyone:  # as Ctrl-Z does
        os.kill(number, signal.SIGSTOP)
    time.sleep(6)
    for number in everyone:
        os.kill(number, signal.SIGCONT)
    goes_on(process, run, steps_of(run))
    process.send_signal(signal.SIGTERM)
    end(process, 143)
    assert "sign of life" not in log(run)


def test_the_death_of_the_fork_server_costs_nothing(start: Start, tmp_path: Path) -> None:
    process, run = start(*LONG), tmp_path / "run"
    training(process, run)
    alive = workers(process.pid)
    [server] = [n for n, text in session_processes(process.pid).items() if "forkserver" in text and n not in alive]
    os.kill(server, signal.SIGKILL)
    goes_on(process, run, steps_of(run))
    os.kill(alive[0], signal.SIGKILL)
    wait_for(lambda: f"(process {alive[0]}) ended for an unknown reason" in log(run), 60, "noticing")
    goes_on(process, run, steps_of(run))
    assert alive[1] in session_processes(process.pid)
    process.send_signal(signal.SIGTERM)
    end(process, 143)
    assert summary(run)["restarts"] == 1


class SignalsWhenItHangs(Callback):
    """Sends SIGTERM to the run, once, when one of its workers hangs."""

    def __init__(self, marker: Path) -> None:
        self.marker, self.sent = marker, False

    def on_updates(self, updates: Updated) -> None:
        if self.marker.exists() and not self.sent:
            self.sent = True
            signal.raise_signal(signal.SIGTERM)


def test_a_signal_ends_a_run_whose_worker_hangs(tmp_path: Path) -> None:
    folder, marker = tmp_path / "run", tmp_path / "happened"
    settings = {**ENDLESS, "environment_options": {"fault": "hang", "marker": str(marker)}}  # for 1,000 seconds
    callbacks = [SignalsWhenItHangs(marker)]
    result = train("tests.environments:test/Faulty-v0", **settings, run_dir=folder, callbacks=callbacks)
    assert (result.exit_code, result.summary["status"]) == (143, "stopped")
    assert not workers_here()
    assert load_newest(folder / "checkpoints")[0].state.steps == result.summary["steps"] > 0


def test_a_terminal_that_hangs_up_ends_the_run_in_order(start: Start, tmp_path: Path) -> None:
    terminal, theirs = pty.openpty()
    process = start(*LONG, terminal=theirs)
    os.close(theirs)
    hung_up = threading.Event()
    reader = threading.Thread(target=read_until, args=(terminal, hung_up))
    reader.start()
    training(process, tmp_path / "run")
    hung_up.set()
    reader.join()
    os.close(terminal)  # nothing can be shown from now on
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 129
    assert summary(tmp_path / "run")["status"] == "stopped"


def read_until(terminal: int, end: threading.Event) -> None:
    """Takes what is shown off a terminal, so that it never fills."""
    while not end.is_set():
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 65536)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_forces_the_end(start: Start, tmp_path: Path, number: int, code: int) -> None:
    process, run = start(*faulty("hang", after=100, once=True, steps="1G")), tmp_path / "run"
    training(process, run)
    wait_for(lambda: (tmp_path / "happened").exists(), 60, "the fault")
    process.send_signal(number)
    time.sleep(0.5)  # the run now waits for its workers, of which one hangs
    process.send_signal(number)
    assert "Traceback" not in end(process, code)
    assert not (tmp_path / "run" / "summary.json").exists()  # which an end in order writes


class KillsAtRandom(Callback):
    """Kills a worker after a random number of updates, again and again."""

    def __init__(self) -> None:
        self.draw, self.left, self.kills = random.Random(3), 5, 0

    def on_updates(self, updates: Updated) -> None:
        self.left -= updates.count
        if self.left <= 0 and (alive := workers_here()):
            self.draw.choice(alive).kill()
            self.left, self.kills = self.draw.randrange(1, 20), self.kills + 1


def test_catch_is_solved_while_workers_are_killed(tmp_path: Path) -> None:
    folder, killer = tmp_path / "run", KillsAtRandom()
    settings = {**ENDLESS, "until_return": 0.95}
    result = train("Catch", **settings, restarts=1000, run_dir=folder, callbacks=[killer])
    assert result.summary["ended_by"] == "goal"
    lines = metrics(folder)
    for name in ("steps", "updates", "episodes"):
        counts = [line[name] for line in lines]
        assert counts == sorted(counts), name
    # an episode of Catch has 9 steps: of all steps, only those of episodes that a kill or the end cut off are missing
    cut_off = 8 * 64 * (2 + killer.kills)
    assert 0 <= result.summary["steps"] - 9 * result.summary["episodes"] <= cut_off
    assert 1 <= result.summary["restarts"] <= killer.kills
    print(f"{killer.kills} kills, {result.summary['restarts']} restarts, {result.summary['steps']} steps")


def test_updates_that_are_not_finite_are_dropped_and_explained(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, _, error = run(*faulty("huge", "--algorithm", "a3c", "--reward-scale", "1", steps="1G"))
    assert code == 1
    assert "10 updates in a row had a loss or a gradient that is not finite" in error
    assert "its rewards reach 1e+30: use --reward-clip or --reward-scale" in error
    dumps = list(folder.glob("not-finite-worker-*.safetensors"))  # the other worker may have come as far
    assert any(dump.name in error for dump in dumps)
    assert all(safetensors.torch.load_file(dump)["rewards"].max() > 1e29 for dump in dumps)
    checkpoint, _ = load_newest(folder / "checkpoints")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in checkpoint.tensors.values())
    assert summary(folder)["dropped_updates"] >= 1  # of what was reported before the end


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("nan", "its observation has nan in component [0], outside the finite numbers"),
        ("outside", "its observation has -2e+06 in component [0], outside [-1.5e+06, 3.40282e+38]"),
        ("shape", "its observation is float32 of shape (3,), not float32 of shape (2,) as its space says"),
        ("reward", "its reward is inf"),
    ],
)
def test_bad_data_is_one_clear_error(run: Run, tmp_path: Path, fault: str, text: str) -> None:
    code, _, error = run(*faulty(fault, after=100, steps="1M"))
    assert code == 2
    assert re.fullmatch(
        rf"error: test/Faulty-v0, worker [01], environment \d+, step 111: {re.escape(text)}: fix the .*, or wrap it\n",
        error,
    ), error
    assert load_newest(tmp_path / "run" / "checkpoints")[0].state.steps > 0


class TwoCheckpoints(Callback):
    """Ends a run when it has checkpoints of two different steps."""

    def on_checkpoint(self, checkpoint: CheckpointSaved) -> bool:
        return len(checkpoint_folders(checkpoint.run_dir / "checkpoints")) == 2


def test_a_damaged_checkpoint_is_told_of_and_an_older_one_used(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train("Catch", run_dir=folder, workers=2, until_return=None, checkpoint_seconds=0.1, callbacks=[TwoCheckpoints()])
    *_, older, newest = checkpoint_folders(folder / "checkpoints")
    data = (newest / "tensors.safetensors").read_bytes()
    (newest / "tensors.safetensors").write_bytes(data[: len(data) // 2])
    code, output, _ = run("train", "--resume", "--run-dir", "run", "--steps", str(summary(folder)["steps"] + 1000))
    assert code == 0
    assert f"{newest} is damaged".replace(str(tmp_path) + "/", "") in output
    assert "going on from an older one" in output
    assert f"resumed at step {int(older.name.removeprefix('step-')):,}" in log(folder)


def test_after_a_kill_counts_go_on_and_no_line_is_doubled(start: Start, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process, saves = start(*LONG, "--checkpoint-seconds", "1"), folder / "checkpoints"
    wait_for(lambda: (saves / "best").exists() and checkpoint_folders(saves), 60, "a best checkpoint and another")
    saved = load_newest(saves)[0].state.steps
    wait_for(lambda: steps_of(folder) > saved + 20_000, 60, "work beyond the checkpoint")
    process.kill()
    process.wait()
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"wall_seconds": 3.1, "ste')  # as a crash in the middle of a line leaves it
    saved_state, lines_before = load_newest(folder / "checkpoints")[0].state, metrics(folder)[:-1]
    goal = lines_before[-1]["steps"] + 50_000
    assert run("train", "--resume", "--run-dir", "run", "--steps", str(goal))[0] == 0
    lines = metrics(folder)
    kept = [line for line in lines_before if line["steps"] <= saved_state.steps]
    assert lines[: len(kept)] == kept  # nothing is lost
    for name in ("steps", "updates", "episodes", "wall_seconds"):
        values = [line[name] for line in lines]
        assert values == sorted(values), name
    assert lines[len(kept)]["learning_rate"] < kept[-1]["learning_rate"] if kept else True
    assert lines[-1]["steps"] >= goal
    assert summary(folder)["best_return_mean"] >= (saved_state.telemetry.best_return_mean or -1)
    assert (folder / "discarded.jsonl").exists()
    assert "lines of metrics of work after the checkpoint went to discarded.jsonl" in log(folder)
