"""Tuning: what is searched, how trials are given up and continued, and the preset file that comes out of it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from asyncrl.algorithms.a3c import A3C
from asyncrl.cli import main
from asyncrl.cli.train import experiment_from
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.installing import install_command
from asyncrl.presets.file import differences
from asyncrl.resolution import starting_point
from asyncrl.run_folder import RunFolder
from asyncrl.search_ranges import Between, searched
from asyncrl.sweep.specification import option
from asyncrl.tune.space import default_space, values_of
from asyncrl.tune.specification import TUNINGS, Dimension, Tuning
from asyncrl.tune.study import Study
from tests.experiments import small

optuna = pytest.importorskip("optuna")

SMALL = ["Catch", "--runtime", "serial", "--workers", "1", "--envs-per-worker", "4", "--hidden", "8"]
SEARCH = ["--only", "--search", "learning_rate=1e-3:1e-2", "rollout_length=5,9"]


@dataclass(frozen=True)
class Own(A3C):
    """An algorithm from outside, with a setting of its own."""

    temperature: float = searched(2.0, Between(1.0, 4.0))
    """Temperature of the policy."""


def tuning(**changes: object) -> Tuning:
    fields: dict[str, object] = {
        "environment": "Catch",
        "options": tuple(SMALL[1:]),
        "search": {"learning_rate": Dimension(1e-3, 1e-2)},
        "seconds": 5.0,
        "seeds": (1,),
        "episodes": 3,
        "deterministic": False,
    }
    return Tuning(**{**fields, **changes})  # type: ignore[arg-type]


def test_settings_bring_their_ranges_along() -> None:
    space = default_space(small(learning_rate=2e-3, rollout_length=8, discount=0.97, entropy_weight=0.3))
    assert space["learning_rate"] == Dimension(2e-4, 2e-2)
    assert space["rollout_length"] == Dimension(2, 32, whole=True)
    assert space["entropy_weight"] == Dimension(1e-4, 0.3)  # widened
    assert "0.97" in space["discount"].choices
    assert "16" in space["hidden"].choices
    own = small(algorithm=f"{__name__}:Own")
    assert default_space(own)["temperature"] == Dimension(1.0, 4.0)
    assert "temperature" not in space
    assert values_of(own, default_space(own))["temperature"] == 2.0


def test_the_exploration_of_a_value_based_method_is_searched_as_a_share_of_the_run() -> None:
    start = small(algorithm="nstep-q", steps=1000, exploration_steps=250)
    dimension = default_space(start)["exploration_steps"]
    assert dimension == Dimension(0.05, 0.5, of_steps=True)
    assert values_of(start, {"exploration_steps": dimension}) == {"exploration_steps": 0.25}
    assert dimension.text(0.25, 40_000) == "10000"


REPLAY = {"multi_step", "replay_ratio", "batch_size"}
PRIORITIES = {"priority_exponent", "importance_exponent"}
SEQUENCES = {"sequence_length", "burn_in"}


@pytest.mark.parametrize(
    ("settings", "effective"),
    [
        ({}, REPLAY),
        ({"prioritized": "rank"}, REPLAY | PRIORITIES),
        ({"memory": "gru"}, REPLAY | SEQUENCES),
        ({"memory": "lstm", "prioritized": "proportional"}, REPLAY | PRIORITIES | SEQUENCES),
    ],
)
def test_dqn_searches_the_settings_of_its_replay_that_have_an_effect(
    settings: dict[str, str], effective: set[str]
) -> None:
    start = small(algorithm="dqn", **settings)
    space = default_space(start)
    assert set(space) & (REPLAY | PRIORITIES | SEQUENCES) == effective
    assert {"target_interval", "exploration_steps", "discount", "learning_rate"} <= set(space)
    assert set(values_of(start, space)) == set(space)  # the settings it starts from lie in every range
    assert space["replay_ratio"] == Dimension(2.0, 32.0)
    assert space["batch_size"] == Dimension(8, 128, whole=True)
    for end in (0, -1):  # every bound makes an algorithm
        bounds = {name: (part.choices or (part.low, part.high))[end] for name, part in space.items()}
        words = [word for name, value in bounds.items() for word in option(name, space[name].text(value, start.steps))]
        experiment_from(["Catch", "--algorithm", "dqn", *words])


def test_pqn_searches_its_minibatches_and_no_target_network() -> None:
    start = small(algorithm="pqn", epochs=2, minibatches=8)
    space = default_space(start)
    assert {"q_lambda", "epochs", "minibatches", "rollout_length", "exploration_steps"} <= set(space)
    assert "target_interval" not in space
    assert space["minibatches"] == Dimension(2, 32, whole=True)
    assert values_of(start, space)["epochs"] == "2"


def test_settings_without_effect_are_not_searched() -> None:
    assert {"hidden", "activation"} <= set(default_space(small()))
    assert not {"hidden", "activation"} & set(default_space(small("MinAtar/Breakout-v1")))


@pytest.mark.timeout(300)
def test_a_tuning_goes_on_and_its_best_is_a_preset(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tune", *SMALL, *SEARCH, "--seconds-per-trial", "1", "--episodes", "5"]
    assert main([*command, "--trials", "1"]) == 0
    out = capsys.readouterr().out
    assert "[1/1] trial-1: score" in out
    assert "the settings it starts from" in out  # the preset's are among those that are searched
    assert main([*command, "--trials", "2"]) == 0
    out = capsys.readouterr().out
    assert "1 of them done already" in out
    assert "[2/2] trial-2: score" in out
    assert main(["tune", "--dir", "tunes/Catch", "--trials", "2"]) == 0
    assert "2 of them done already" in capsys.readouterr().out

    found = yaml.safe_load(Path("tunes/Catch/best.yaml").read_text())
    assert (found["environment"], found["algorithm"], found["preset"]) == ("Catch-v0", "a3c", "tuned/catch")
    assert found["found"]["trials"] == 2
    run = RunFolder(Path(f"tunes/Catch/runs/{found['found']['trial']},seed=1"))
    evaluation, summary = run.read_evaluation(), run.read_summary()
    assert evaluation is not None
    assert summary is not None
    assert found["score"] == evaluation["return_mean"]
    assert evaluation["episodes"] == 5
    assert summary["wall_seconds"] < 2
    trained, again = run.read_experiment(), experiment_from(["Catch", "--preset", "tunes/Catch/best.yaml"])
    assert set(differences(trained, again)) == {"until_seconds"}
    assert setting(again, "steps") == found["settings"]["steps"]
    assert main(["train", "Catch", "--preset", "tunes/Catch/best.yaml", "--steps", "200", "--run-dir", "r"]) == 0
    assert (RunFolder(Path("r")).read_summary() or {})["preset"] == "tunes/Catch/best.yaml"


@pytest.mark.timeout(300)
def test_a_trial_below_the_median_is_given_up(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("t")
    described = TUNINGS.open(folder, tuning(seconds=8.0))
    study = Study(folder, described, {}, 3)
    for rate in (1e-3, 2e-3, 3e-3, 4e-3):
        perfect = optuna.trial.create_trial(
            params={"learning_rate": rate},
            distributions=study.space,
            value=1.0,
            intermediate_values=dict.fromkeys(range(1, 10), 1.0),
            user_attrs={"name": f"rate-{rate}", "steps": 1},
        )
        study.study.add_trial(perfect)
    capsys.readouterr()
    stopped = Study(folder, described, {}, 3)
    assert len(stopped.ended) == 4
    from asyncrl.tune.execution import Ended, run_tuning

    reported: list[Ended] = []
    assert run_tuning(folder, described, stopped, 5, reported.append)
    (ended,) = reported
    assert ended.score is None
    assert ended.given_up is not None
    assert 0.3 <= ended.given_up < 1
    run = RunFolder(folder / "runs" / f"{ended.name},seed=1")
    assert (run.read_summary() or {})["status"] == "stopped"
    assert run.read_evaluation() is None
    assert [trial.user_attrs["name"] for trial in stopped.scored] == [
        f"rate-{rate}" for rate in (1e-3, 2e-3, 3e-3, 4e-3)
    ]


@pytest.mark.timeout(300)
def test_ctrl_c_ends_a_tuning_within_seconds_and_its_trial_goes_on_later(in_tmp: Path) -> None:
    command = [sys.executable, "-m", "asyncrl", "tune", *SMALL, *SEARCH, "--seconds-per-trial", "60", "--dir", "t"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    run = RunFolder(Path("t/runs/trial-1,seed=1"))
    deadline = time.monotonic() + 120
    while not any(run.checkpoints.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
        if run.metrics_file.exists() and len(run.read_metrics()) > 2:
            break
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert process.returncode == 130
    assert "stopped; continue with: asyncrl tune --dir t --trials 20" in out
    assert (run.read_summary() or {})["status"] == "stopped"

    described = TUNINGS.open(Path("t"), None)
    study = Study(Path("t"), described, {}, 3)
    assert not study.ended
    trial = study.ask()
    assert trial.user_attrs["name"] == "trial-1"
    assert trial.params["rollout_length"] == "9"  # the first trial has the preset's settings
    planned = described.plan(Path("t"), "trial-1,seed=1", trial.params, trial.user_attrs["steps"], 1)
    assert next(planned.commands())[:2] == ["train", "--resume"]


@pytest.mark.timeout(200)
def test_a_time_in_which_training_cannot_begin_is_said(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *SMALL, *SEARCH, "--seconds-per-trial", "0.001", "--dir", "t"]) == 1
    error = capsys.readouterr().err
    assert "a trial has 0.001 s: give more --seconds-per-trial" in error
    assert error.count("\n") == 1


@pytest.mark.timeout(200)
def test_a_search_whose_first_trial_fails_ends(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    command = ["tune", "tests.environments:test/Crash-v0", *SMALL[1:], *SEARCH, "--env-option", "after=50"]
    assert main([*command, "--dir", "t"]) == 1
    error = capsys.readouterr().err
    assert "the first trial failed, so no other one is tried" in error
    assert "ZeroDivisionError: the simulator broke" in error


def test_a_folder_that_cannot_be_written_to_is_one_line(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("asyncrl.tune.execution.run_tuning", full)
    assert main(["tune", *SMALL, *SEARCH, "--trials", "1"]) == 1
    error = capsys.readouterr().err
    assert "tunes/Catch cannot be written to (No space left on device)" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which environment?"),
        (["Nowhere-v0"], "unknown environment"),
        (["Catch", "--trials", "0"], "--trials and --episodes must be at least 1"),
        (["Catch", "--seconds-per-trial", "-1"], "--seconds-per-trial must be positive"),
        (["Catch", "--search", "learning_rate"], "--search takes settings like"),
        (["Catch", "--search", "learning_rate=1e-2:1e-4"], "--search takes a range of positive numbers"),
        (["Catch", "--search", "learning_rate=0:1"], "--search takes a range of positive numbers"),
        (["Catch", "--search", "learning_rat=1e-4:1"], "has no setting 'learning_rat'"),
        (["Catch", "--search", "discount=0.5:2"], "--discount must lie in [0, 1]"),
        (["Catch", "--search", "optimizer=shared-adam,sgd"], "unknown optimizer"),
        (["Catch", "--search", "algorithm=a3c,sarsa"], "algorithm is the same for all trials"),
        (["Catch", "--discount", "0.9", "--search", "discount=0.9,0.99"], "discount is the same for all trials"),
        (["Catch", "--steps", "1k"], "a tuning chooses --steps itself"),
        (["Catch", "--only"], "nothing is left to search"),
        (["Catch", "--seeds", "1", "1"], "--seeds takes"),
        (["--dir", "nothing"], "there is no tuning in nothing"),
        (["--dir", "nothing", "--episodes", "5"], "continues a tuning as it is"),
    ],
)
def test_a_wrong_tuning_is_one_line(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["tune", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("tunes").exists()


def test_tuning_says_how_to_install_optuna(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", "Catch"]) == 2
    assert install_command("asyncrl[tuning]") in capsys.readouterr().err
    assert not Path("tunes").exists()


def test_a_damaged_file_of_trials_is_one_line(in_tmp: Path) -> None:
    described = TUNINGS.open(Path("t"), tuning())
    Path("t/study.db").write_text("no database")
    with pytest.raises(UserError, match=r"t/study.db cannot be used .*: choose another --dir"):
        Study(Path("t"), described, {}, 3)


GOOD = {"preset": "tuned/catch", "algorithm": "a3c", "settings": {"learning_rate": 0.01, "hidden": [32, 32]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("learning_rate: [", "p.yaml cannot be read"),
        ("just words", "p.yaml holds no settings"),
        ({"algorithm": "a3c"}, "p.yaml cannot be used"),
        ({**GOOD, "stps": 5}, "p.yaml cannot be used"),
        ({**GOOD, "preset": "tuned/nothing"}, "p.yaml: unknown preset 'tuned/nothing'"),
        ({**GOOD, "algorithm": "a4c"}, "unknown algorithm 'a4c'"),
        ({**GOOD, "settings": {"learning_rat": 0.1}}, "p.yaml: a3c has no setting 'learning_rat': did you mean"),
        ({**GOOD, "settings": {"learning_rate": "high"}}, "p.yaml: these settings cannot be used"),
    ],
)
def test_a_wrong_preset_file_is_one_line(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], content: object, message: str
) -> None:
    Path("p.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    assert main(["train", "Catch", "--preset", "p.yaml"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_a_preset_file_is_a_starting_point_like_any_other(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.yaml").write_text(yaml.safe_dump(GOOD))
    start = starting_point("Catch", "p.yaml")
    assert (start.optimizer.learning_rate, start.network.hidden) == (0.01, (32, 32))
    assert start.preset == "p.yaml"
    assert experiment_from(["Catch", "--preset", "p.yaml", "--learning-rate", "0.5"]).optimizer.learning_rate == 0.5
    assert set(differences(start, starting_point("Catch"))) == {"learning_rate", "hidden"}
    with pytest.raises(UserError, match="has settings for a3c only"):
        starting_point("Catch", "p.yaml", "sarsa")
    with pytest.raises(UserError, match=r"there is no preset file q\.yaml"):
        starting_point("Catch", "q.yaml")


def test_a_preset_file_imports_nothing_that_the_user_did_not_name(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(in_tmp)])
    Path("foreign.py").write_text(
        "from pathlib import Path\nfrom asyncrl.algorithms.a3c import A3C\n\nPath('seen').touch()\n\n"
        "class Mine(A3C):\n    pass\n"
    )
    Path("p.yaml").write_text(yaml.safe_dump({**GOOD, "algorithm": "foreign:Mine", "settings": {"discount": 0.5}}))
    for arguments in (["Catch", "--preset", "p.yaml"], ["--preset", "p.yaml", "--help"]):
        assert main(["train", *arguments]) == 2
        assert "if you trust that code, add --import foreign" in capsys.readouterr().err
    assert not Path("seen").exists()
    mine = experiment_from(["Catch", "--preset", "p.yaml", "--import", "foreign"])
    assert type(mine.algorithm).__name__ == "Mine"
    assert mine.algorithm.discount == 0.5
