"""The benchmark: measurements of real processes, and what is printed of them."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from asyncrl.cli import main
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.runtime import phases
from asyncrl.runtime.phases import PHASES, PhaseClock
from tests.experiments import small
from tests.pages import REPOSITORY


@pytest.mark.timeout(300)
def test_training_is_measured_beside_the_raw_environment(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["Catch", "--repeats", "1", "--seconds", "1.5", "--json", "--workers", "2", "--envs-per-worker", "8"]
    assert main(["bench", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["workers"], result["envs_per_worker"], result["frames_per_step"]) == (2, 8, 1)
    assert 0 < result["ratio"] < 1
    assert result["ratio"] == pytest.approx(
        result["training_steps_per_second"] / result["raw_steps_per_second"], rel=0.01
    )
    parts = result["cpu_microseconds_per_step"]
    assert set(parts) == set(PHASES)
    assert all(part > 0 for part in parts.values())
    # two workers cannot use more than two cores
    assert sum(parts.values()) * result["training_steps_per_second"] < 2.3e6
    assert 1 < result["private_megabytes_of_a_worker"] < result["total_megabytes"]


@pytest.mark.timeout(300)
def test_cost_is_measured_over_the_values_of_a_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["Catch", "--repeats", "1", "--seconds", "0.5", "--workers", "1", "--vary", "envs_per_worker=2,64"]
    assert main(["bench", *arguments, "--json", "--output", str(tmp_path / "growth.png")]) == 0
    few, many = json.loads(capsys.readouterr().out)
    assert (few["value"], few["envs_per_worker"]) == ("2", 2)
    assert (many["value"], many["envs_per_worker"]) == ("64", 64)
    assert many["training_steps_per_second"] > 2 * few["training_steps_per_second"]
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets tests import the scripts of the folder `benchmarks`, as they import each other."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))


@pytest.mark.timeout(300)
def test_training_is_measured_beside_a_plain_loop(benchmarks: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["Catch", "--repeats", "1", "--seconds", "1", "--workers", "1", "--envs-per-worker", "1"]
    importlib.import_module("peers").main(arguments)
    *_, plain = capsys.readouterr().out.splitlines()
    assert float(re.fullmatch(r"plain PyTorch loop +([\d,]+) steps/s .*", plain)[1].replace(",", "")) > 10
    with pytest.raises(UserError, match="no peer can do this"):
        importlib.import_module("peers").main(["LunarLander-v3", "--memory", "lstm"])


def test_the_plain_loop_learns(benchmarks: None) -> None:
    """A peer that does not learn what training learns would be no peer."""
    plain_loop = importlib.import_module("plain_loop")
    board = {"rows": 3, "columns": 3}  # chance gives a mean return of -1/3
    settings = {"envs_per_worker": 1, "learning_rate": 1e-2, "environment_options": board}
    experiment = small("Catch-v0", "a3c", **settings)
    info = describe(experiment)
    assert plain_loop.fits(experiment, info)
    torch.manual_seed(0)
    rollouts = plain_loop.train(experiment, info, plain_loop.make_network(experiment, info), seed=0)
    returns: list[float] = []
    for steps in itertools.islice(rollouts, 1000):
        returns += [sum(steps.rewards)] if steps.has_ended else []
        if len(returns) > 100 and statistics.fmean(returns[-100:]) > 0.6:
            return
    pytest.fail("the plain loop has not learned Catch")


def test_a_wrong_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"Catchh": "unknown environment", "Catch --repeats 0": "at least 1", "Catch --runtime serial": "processes"}
    wrong |= {"--memory lstm Catch": "comes first", "Catch --steps 10k": "chooses --steps itself"}
    wrong |= {"Catch --output a.png": "name one with --vary"}
    wrong |= {"Catch --vary hidden": "takes a setting", "Catch --vary envs_per_worker=1,": "takes a setting"}
    wrong |= {
        "Catch --vary steps=1k,2k": "chooses --steps itself",
        "Catch --vary memory=gru --output a.txt": "end in .png",
    }
    wrong |= {"Catch --seconds=3 --seconds 4": "give --seconds once"}
    for arguments, message in ((text.split(), message) for text, message in wrong.items()):
        assert main(["bench", *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_a_sigterm_ends_all_that_the_benchmark_started() -> None:
    command = [sys.executable, "-m", "asyncrl", "bench", "Catch", "--repeats", "1", "--seconds", "30", "--workers", "2"]
    bench = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = psutil.Process(bench.pid)
    while len(process.children(recursive=True)) < 3:  # the raw environments run
        time.sleep(0.1)
    started = process.children(recursive=True)
    os.kill(bench.pid, signal.SIGTERM)
    assert bench.wait(60) == 130
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive


def test_laps_are_booked_to_their_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr(phases.time, "perf_counter", lambda: next(times))
    clock = PhaseClock()
    clock.lap("act")
    clock.lap("learn")
    clock.restart()
    clock.lap("act")
    assert clock.pop() == {"environment": 0.0, "act": 1.5, "learn": 2.0, "update": 0.0, "other": 0.0}
    assert sum(clock.pop().values()) == 0
