"""Sweeps: which runs they make, that they go on where they stopped, and what they say of the scores."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from asyncrl.analysis.statistics import bootstrap_interval, interquartile_mean
from asyncrl.cli import main
from asyncrl.cli.arguments import split
from asyncrl.cli.sweep import Arguments
from asyncrl.cli.train import experiment_from
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.run_folder import locked, new_run_folder
from asyncrl.sweep.folder import runs_in
from asyncrl.sweep.results import Result, summarise
from asyncrl.sweep.specification import SWEEPS, Sweep, Trial
from tests.experiments import small

QUICK = ["Catch", "--runtime", "serial", "--workers", "1", "--envs-per-worker", "4", "--hidden", "8", "--steps", "2k"]


def sweep(**changes: object) -> Sweep:
    fields: dict[str, object] = {
        "environment": "Catch",
        "grid": {"algorithm": ["a3c", "sarsa"], "lock": ["true", "false"]},
        "draw": {"learning_rate": (1e-4, 1e-2)},
        "draws": 3,
        "seeds": [1, 2],
        "options": ["--steps", "2k"],
        "episodes": 0,
        "deterministic": False,
    }
    return Sweep(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_trials_are_every_combination_and_draws_are_the_same_for_all() -> None:
    trials = sweep().trials()
    assert len(trials) == len({trial.name for trial in trials}) == 2 * 2 * 3 * 2
    rates: dict[tuple[int, int], set[str]] = {}
    for trial in trials:
        rates.setdefault((trial.seed, trial.number), set()).add(trial.settings["learning_rate"])
    assert all(len(values) == 1 for values in rates.values())
    drawn = [float(value) for values in rates.values() for value in values]
    assert len(set(drawn)) == 6
    assert all(1e-4 <= rate <= 1e-2 for rate in drawn)
    first = trials[0].arguments(sweep())
    assert first[:4] == ["Catch", "--steps", "2k", "--algorithm"]
    assert "--lock" in first
    assert "--no-lock" in trials[1].arguments(sweep())


def test_interquartile_mean_and_its_interval() -> None:
    assert float(interquartile_mean([0, 1, 2, 3, 4, 5, 6, 1000])) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert float(interquartile_mean([1.0, 5.0])) == 3.0
    scores = np.random.default_rng(0).normal(7, 2, 40)
    low, high = bootstrap_interval(scores)
    assert low < float(interquartile_mean(scores)) < high
    # the interval of a mean of 40 is about ±2·2/√40 = 0.63 wide to each side
    assert 0.8 < high - low < 2.2
    curves = bootstrap_interval(np.stack([scores, scores + 1], 1))
    assert curves[0].shape == (2,)
    np.testing.assert_allclose(curves[0][1] - curves[0][0], 1)
    assert bootstrap_interval([4.0]) == (4.0, 4.0)


def test_a_summary_is_over_seeds() -> None:
    def result(name: str, seed: int, end: str, steps: int, score: float | None) -> Result:
        return Result(Trial({"steps": name}, seed, 0), score, score, score, end, steps, 1.0)

    results = [result("1k", 1, "goal", 100, 1.0), result("1k", 2, "steps", 300, 0.0), result("9k", 1, "goal", 50, 2.0)]
    one, two = summarise([*results, result("9k", 2, "steps", 60, None)], ["steps"])
    assert (one.settings, one.runs, one.score, one.goals, one.steps_done) == ({"steps": "1k"}, 2, 0.5, 1, 200)
    assert (two.settings, two.runs, two.score, two.low, two.high) == ({"steps": "9k"}, 2, 2.0, 2.0, 2.0)


def test_many_draws_have_many_names() -> None:
    # the paper's own design: 50 learning rates of one range
    for seed in range(20):
        assert len({trial.name for trial in sweep(draws=50, seeds=[seed]).trials()}) == 4 * 50


def test_switches_reach_the_run_either_way() -> None:
    on, off = (
        experiment_from(["LunarLander-v3", *trial.arguments(sweep())[1:]])
        for trial in sweep(grid={"normalize_observations": ["true", "false"]}, draw={}, draws=1, seeds=[1]).trials()
    )
    assert on.network.normalize_observations
    assert not off.network.normalize_observations


def test_the_options_of_a_sweep_are_told_from_those_of_training() -> None:
    own = ["Catch", "--dir", "s", "--import", "mine", "--draw", "learning_rate=1e-4:1e-2", "--seeds", "1", "2"]
    passed = ["--steps", "2k", "--no-lock", "--reward-scale", "-1"]
    assert split([*own, *passed], Arguments) == (own, passed)


def test_two_sweeps_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="another process works on"), locked(tmp_path):
        pass


@pytest.mark.timeout(300)
def test_a_sweep_runs_resumes_and_draws(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", *QUICK, "--grid", "algorithm=a3c,sarsa", "--draw", "learning-rate=1e-3:1e-2"]
    command += ["--seeds", "1", "2", "--episodes", "3", "--deterministic", "--dir", "s", "--parallel", "2"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "4 runs in s, 0 of them done already, 2 at a time" in out
    assert "[4/4]" in out
    rows = list(csv.DictReader(Path("s/results.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert all(-1 <= float(row["score"]) <= 1 for row in rows)
    for row in rows:
        (run,) = (
            r for r in runs_in(Path("s")) if f"seed={row['seed']}" in r.path.name and row["algorithm"] in r.path.name
        )
        assert str(setting(run.read_experiment(), "learning_rate")) == str(float(row["learning_rate"]))
    for name in ("curves.png", "curves_seconds.png", "score_learning_rate.png", "sorted.png"):
        assert Path("s", name).stat().st_size > 5_000
    # one run is lost, another was left half-way: the same command makes these two again, and no other
    first, second, *_ = sorted(Path("s/runs").iterdir())
    (first / "summary.json").unlink()
    (second / "evaluation.json").unlink()
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "2 of them done already" in out
    assert main(["sweep", "--dir", "s"]) == 0  # the folder alone is enough
    assert "4 of them done already" in capsys.readouterr().out
    assert main(["sweep", *QUICK, "--seeds", "1", "--dir", "s"]) == 2
    assert "holds another sweep" in capsys.readouterr().err
    assert main(["plot", "s", "--by", "algorithm", "--output", "p.png"]) == 0
    assert main(["plot", "s", "--x", "learning_rate", "--by", "algorithm", "--output", "q.png"]) == 0
    assert main(["plot", "s", "--by", "colour"]) == 2
    assert "has no setting 'colour'" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_ctrl_c_stops_the_runs_with_checkpoints_and_the_sweep_goes_on_later(in_tmp: Path) -> None:
    command = [sys.executable, "-m", "asyncrl", "sweep", *QUICK[:-1], "100M", "--seeds", "1", "2", "--dir", "s"]
    process = subprocess.Popen([*command, "--parallel", "2"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(Path("s/runs").glob("*/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "continue with: asyncrl sweep --dir s" in out
    runs = runs_in(Path("s"))
    assert len(runs) == 2
    assert all(any(run.checkpoints.glob("step-*")) for run in runs)
    assert all((run.read_summary() or {})["status"] == "stopped" for run in runs)


def test_a_failing_run_is_named_and_the_others_go_on(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    command = ["sweep", "tests.environments:test/Crash-v0", *QUICK[1:-1], "10k", "--env-option", "after=50"]
    assert main([*command, "--seeds", "1", "2", "--dir", "s"]) == 1
    out = capsys.readouterr().out
    assert out.count("ZeroDivisionError: the simulator broke") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Catch", "--grid", "algorithm=a3c,a4c"], "unknown algorithm 'a4c'"),
        (["Catch", "--grid", "algorithm"], "--grid takes settings like"),
        (["Catch", "--draw", "learning_rate=0:1"], "takes a range of positive numbers"),
        (["Catch", "--seeds", "1", "1"], "would be the same"),
        (["Catch", "--draws", "5"], "--draws is the number of draws"),
        (["Catch", "--run-dir", "x"], "chooses --run-dir itself"),
        (["Catch", "--grid", "seed=1,2"], "chooses --seed itself"),
        (["Catch", "--grid", "env_option=rows=12,rows=8"], "has no setting 'env_option'"),
        (["Catch", "--grid", "lock=true", "--grid", "workers=1"], "give --grid once"),
        (["Catch", "--seeds", "1", "-5"], "--seed must lie between"),
        (["--dir", "nothing", "--episodes", "5"], "--dir alone continues"),
        (["Nowhere-v0"], "unknown environment"),
        ([], "which environment?"),
        (["--dir", "nothing"], "there is no sweep in nothing"),
    ],
)
def test_a_wrong_sweep_is_one_line(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["sweep", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("sweeps").exists()


def test_another_sweep_of_an_environment_has_a_folder_of_its_own_and_the_same_one_goes_on_in_its_own(
    in_tmp: Path,
) -> None:
    first, second, third = sweep(), sweep(draws=4), sweep(environment="CatchMemory")
    for each, name in ((first, "Catch"), (second, "Catch-2"), (third, "CatchMemory")):
        assert SWEEPS.default(each) == Path("sweeps", name)
        assert SWEEPS.open(SWEEPS.default(each), each) == each
    assert SWEEPS.default(second) == Path("sweeps/Catch-2")
    shutil.rmtree("sweeps/Catch")
    assert SWEEPS.default(second) == Path("sweeps/Catch-2")
    assert SWEEPS.default(first) == Path("sweeps/Catch")
    Path("sweeps/Catch-2/sweep.yaml").write_text("draws: [")
    assert SWEEPS.default(second) == Path("sweeps/Catch")
    assert SWEEPS.open(Path("sweeps/CatchMemory"), None) == third
    with pytest.raises(UserError, match=r"the sweep in sweeps/Catch-2 cannot be read"):
        SWEEPS.open(Path("sweeps/Catch-2"), None)


def test_a_run_that_was_stopped_before_it_wrote_anything_begins_again(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    assert new_run_folder(small(), "a3c", tmp_path, overwrite=False).path == tmp_path
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="exists: go on with --resume"):
        new_run_folder(small(), "a3c", tmp_path, overwrite=False)


def test_a_folder_that_is_no_sweep_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(UserError, match="holds no sweep"):
        SWEEPS.open(tmp_path, sweep())
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
