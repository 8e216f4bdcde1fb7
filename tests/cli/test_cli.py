"""The command line: the whole way of a run, and one clear line for every bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gymnasium.spaces import Dict

import asyncrl
import tests.environments  # noqa: F401  (registers the environments)
from asyncrl import kernels
from asyncrl.cli import main
from asyncrl.cli.arguments import parse_steps
from asyncrl.cli.train import experiment_from
from asyncrl.errors import UserError
from asyncrl.installing import install_command
from asyncrl.run_folder import RunFolder, locked

QUICK = ("--runtime", "serial", "--workers", "1", "--steps", "2k", "--until-return", "None")


OWN_ALGORITHM = """
from dataclasses import dataclass
from asyncrl.algorithms.a3c import A3C

@dataclass(frozen=True)
class Patient(A3C):
    patience: int = 7
    '''Steps to wait.'''
"""


@pytest.fixture
def run(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A short run of Catch, called `run`, in the working directory."""
    assert main(["train", "Catch", *QUICK, "--run-dir", "run"]) == 0
    capsys.readouterr()
    return in_tmp / "run"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error of a command that ends with exit code 2."""
    try:
        code: object = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    captured = capsys.readouterr()
    assert code == 2, captured
    assert "Traceback" not in captured.err + captured.out
    return captured.err


def one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    error = refused(arguments, capsys)
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    return error


def test_observations_of_all_kinds_are_trained_on_and_text_is_left_out(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["train", "tests.environments:test/Mixed-v0", *QUICK[:-4], "--steps", "200", "--envs-per-worker", "4"]
    assert main([*start, "--last-action-reward", "--run-dir", "run"]) == 0
    note = "note: the agent does not see the observation 'said', which is text\n"
    assert capsys.readouterr().out.count(note) == 1
    agent = asyncrl.load("run", modules=["tests.environments"])
    assert isinstance(agent.info.observation_space, Dict)
    shapes = {key: space.shape for key, space in agent.info.observation_space.spaces.items()}
    body = {"body/dial": (5,), "body/switches": (2,), "pair/0": (3,), "pair/1": (1,)}
    assert shapes == {**body, "last_action": (2,), "last_reward": (1,)}
    assert agent.evaluate(episodes=2).episodes == 2


def test_a_run_from_start_to_video(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "Catch", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "preset tuned/catch" in out
    for path in ("runs/Catch-v0-a3c-1", "learning_curve.png"):
        assert path in out
    run = RunFolder(in_tmp / "runs" / "Catch-v0-a3c-1")
    assert run.curve_file.read_bytes().startswith(b"\x89PNG")
    assert any(run.tensorboard.iterdir())
    summary = json.loads(run.summary_file.read_text())
    assert (summary["status"], summary["environment"], summary["algorithm"]) == ("done", "Catch-v0", "a3c")
    assert run.read_metrics()[-1]["steps"] == summary["steps"]

    next_commands = [
        line.split("asyncrl ")[1].split()
        for line in out.splitlines()
        if "asyncrl eval" in line or "asyncrl watch" in line
    ]
    assert [command[0] for command in next_commands] == ["eval", "watch"]
    for command in next_commands:  # what the farewell proposes works as it stands
        assert main(command) == 0
    assert (run.path / "episode.mp4").stat().st_size > 500

    assert main(["eval", str(run.path), "--episodes", "7", "--json", "--deterministic"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    keys = {"episodes", "return_mean", "return_std", "return_min", "return_max", "length_mean"}
    assert set(printed) == keys | {"steps", "deterministic", "seed"}
    assert printed["deterministic"] is True
    assert printed["episodes"] == 7
    assert printed["length_mean"] == 9

    assert main(["watch", str(run.path), "--video", "short.gif", "--max-steps", "4"]) == 0
    assert Path("short.gif").read_bytes().startswith(b"GIF8")
    assert "no episode ended" in capsys.readouterr().out
    assert main(["plot", str(run.path), str(run.path), "--output", "both.svg", "--x", "wall_seconds"]) == 0
    assert "<svg" in Path("both.svg").read_text()

    assert main(["train", "Catch", *QUICK]) == 0  # a second run gets a folder of its own
    assert (in_tmp / "runs" / "Catch-v0-a3c-2").is_dir()


def test_the_same_seed_evaluates_to_the_same_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = []
    for seed in ("3", "3", "4"):
        assert main(["eval", "run", "--episodes", "200", "--json", "--seed", seed]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert [result.pop("seed") for result in results] == [3, 3, 4]
    assert results[0] == results[1] != results[2]


def test_resume_and_overwrite(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "exists: go on with --resume, replace it with --overwrite" in one_line(
        ["train", "Catch", *QUICK, "--run-dir", "run"], capsys
    )
    lines = len(RunFolder(run).read_metrics())
    before = RunFolder(run).read_experiment()
    assert main(["train", "--resume", "--run-dir", "run", "--steps", "4k", "--entropy-weight", "0.02"]) == 0
    metrics = RunFolder(run).read_metrics()
    assert RunFolder(run).read_experiment().algorithm.entropy_weight == 0.02  # type: ignore[attr-defined]
    (run / "experiment-1.yaml").replace(run / "experiment.yaml")  # what it was before is kept
    assert RunFolder(run).read_experiment() == before
    assert len(metrics) > lines
    assert metrics[-1]["steps"] >= 4000
    assert "cannot change its network" in one_line(["train", "--resume", "--run-dir", "run", "--hidden", "99"], capsys)
    assert "is of Catch-v0, not of CartPole" in one_line(["train", "CartPole", "--resume", "--run-dir", "run"], capsys)
    assert "cannot be made" in one_line(
        ["train", "Catch", "--run-dir", "run", "--overwrite", "--env-option", "colour=1"], capsys
    )
    assert (run / "summary.json").exists()  # nothing is thrown away for a run that cannot start
    assert "choose one" in one_line(["train", "--resume", "--overwrite", "--run-dir", "run"], capsys)
    assert main(["train", "Catch", *QUICK, "--run-dir", "run", "--overwrite"]) == 0
    assert RunFolder(run).read_metrics()[-1]["steps"] < 4000


@pytest.mark.parametrize(
    ("combination", "message"),
    [
        ({"resume": True, "overwrite": True}, "--overwrite throws it away: choose one of them"),
        ({"resume": True, "preset": "tuned/catch"}, "leave --preset out"),
        ({"resume": True, "algorithm": "sarsa"}, "is of a3c, not of sarsa"),
        ({"overwrite": True, "run_dir": None}, "--overwrite replaces the run in --run-dir: name it"),
    ],
)
def test_what_contradicts_itself_is_refused_from_python_too(
    run: Path, capsys: pytest.CaptureFixture[str], combination: dict[str, Any], message: str
) -> None:
    arguments = {"run_dir": run, **combination}
    with pytest.raises(UserError, match=message):
        asyncrl.train("Catch", **arguments)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items() if value not in (None, True)]
    switches = [f"--{name}" for name, value in arguments.items() if value is True]
    assert message in one_line(["train", "Catch", *words, *switches], capsys)
    assert (run / "summary.json").exists()


def test_a_run_of_any_name_is_found_by_its_settings(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seconds, name in enumerate(("old", "new", "broken")):
        assert main(["train", "Catch", *QUICK, "--quiet", "--run-dir", f"runs/{name}"]) == 0
        os.utime(in_tmp / "runs" / name, (1e9 + seconds, 1e9 + seconds))
    (in_tmp / "runs" / "broken" / "experiment.yaml").write_text("a: [")
    assert main(["train", "Catch", "--resume", "--steps", "3k"]) == 0
    assert "run:    runs/new" in capsys.readouterr().out
    assert "there is no run of sarsa on Catch-v0" in one_line(
        ["train", "Catch", "--resume", "--algorithm", "sarsa"], capsys
    )


def test_a_quiet_run_prints_its_result(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "Catch", *QUICK, "--quiet"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("done after 2,")
    assert "mean return of the last 100 episodes: " in line


def test_a_resumed_run_takes_its_own_algorithms_options(in_tmp: Path) -> None:
    assert main(["train", "Catch", *QUICK, "--algorithm", "sarsa", "--run-dir", "run"]) == 0
    assert main(["train", "--resume", "--run-dir", "run", "--steps", "3k", "--target-interval", "500"]) == 0
    assert RunFolder(in_tmp / "run").read_experiment().algorithm.target_interval == 500


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["CartPole-v1"], ["OPTIONS] ENV", "(default: CartPole-v1)", "tuned/cartpole)", "--entropy-weight"]),
        (["Catch", "--algorithm", "sarsa"], ["--target-interval INT", "(default: sarsa)"]),
        (["Catch", "--algorithm", "mine:Patient"], ["--patience INT", "Steps to wait. (default: 7)", "--value-weight"]),
        (["--preset", "paper/atari-57-ff"], ["OPTIONS] ENV", "--max-gradient-norm"]),
    ],
)
def test_the_help_shows_what_an_environment_starts_from(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    Path("mine.py").write_text(OWN_ALGORITHM)
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert [text for text in expected if text not in out] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "CartPol-v1"], "did you mean CartPole-v1"),
        (["train"], "which environment?"),
        (["train", "Catch", "--algorithm", "a4c"], "unknown algorithm 'a4c': choose one of a3c"),
        (["train", "Catch", "--algorithm", "nowhere:Mine"], "cannot import the algorithm 'nowhere:Mine'"),
        (["train", "Catch", "--preset", "tuned/chess"], "unknown preset 'tuned/chess': choose one of tuned/catch"),
        (["train", "Catch", "--workers", "0"], "--workers must be at least 1"),
        (["train", "Catch", "--steps", "-5"], "--steps must be positive"),
        (["train", "Catch", "--steps", "0"], "--steps must be positive"),
        (["train", "Catch", "--envs-per-worker", "0"], "--envs-per-worker must be at least 1"),
        (["train", "Catch", "--rollout-length", "0"], "--rollout-length must be at least 1"),
        (["train", "Catch", "--discount", "1.5"], "--discount must lie in"),
        (["train", "Catch", "--learning-rate", "-1"], "--learning-rate must be positive"),
        (["train", "Catch", "--episode-rollouts"], "needs --envs-per-worker 1"),
        (["train", "Catch", "--env-option", "rows"], "look like rows=12"),
        (["train", "Catch", "--env-option", "rows=1"], "at least 2 rows"),
        (["train", "Catch", "--env-option", "colour=1"], "Catch-v0 cannot be made"),
        (["train", "Catch", "--n-steps", "5"], "there is no option --n-steps: asyncrl calls it --rollout-length"),
        (["train", "Catch", "--total_timesteps=5"], "no option --total-timesteps: asyncrl calls it --steps"),
        (["train", "Catch", "--env-kwargs", "rows=5"], "asyncrl calls it --env-option"),
        (
            ["train", "Catch", "--algorithm", "nfq", "--prioritized", "rank"],
            "nfq has no option --prioritized: leave it out, or take dqn",
        ),
        (["train", "Catch", "--algorithm", "nfq", "--no-double"], "nfq has no option --no-double"),
        (["train", "Catch", "--algorithm", "nfq", "--memory", "lstm"], "leave out --memory lstm"),
        (["train", "Catch", "--algorithm", "nfq", "--hint-to-goal", "no:no"], "cannot import the function"),
        (["train", "Catch", "--torso", "resnet"], "unknown torso 'resnet'"),
        (["train", "Catch", "--seed", "9999999999"], "--seed must lie between"),
        (["eval", "nowhere", "--seed", "-1"], "--seed must lie between"),
        (["train", "Pendulum-v1", "--algorithm", "sarsa"], "needs Discrete actions"),
        (["train", "Catch", "--resume"], "there is no run on Catch-v0"),
        (["train", "--resume"], "what should be resumed?"),
        (["train", "Catch", "--run-dir", "/dev/null/run"], "cannot make the run folder"),
        (["eval", "nowhere"], "there is no run folder nowhere"),
        (["eval", "."], "is not a run folder"),
        (["watch", "nowhere", "--video", "a.mp4"], "there is no run folder"),
        (["watch", "nowhere", "--video", "a.avi"], "videos end in .mp4 or .gif"),
        (["plot"], "which runs?"),
        (["plot", "nowhere"], "there is no run folder"),
        (["plot", "nowhere", "--output", "a.doc"], "pictures end in"),
        (["trian", "Catch"], "did you mean 'asyncrl train'?"),
        (["fly"], "unknown command 'fly'"),
    ],
)
def test_bad_input(in_tmp: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    if arguments[0] == "train" and "serial" not in arguments:
        arguments = [*arguments, "--runtime", "serial"]
    assert expected in one_line(arguments, capsys)
    assert not any(in_tmp.rglob("metrics.jsonl"))  # nothing was started
    assert not any(in_tmp.glob("runs/*"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "Catch", "--steps", "many"], "'many' is not a whole number"),
        (["train", "Catch", "--stesp", "5"], "--steps"),
        (["train", "Catch", "--memory", "elephant"], "elephant"),
        (["eval", "run", "--episodes", "x"], "--episodes"),
        (["eval"], "RUN"),
    ],
)
def test_bad_syntax(in_tmp: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    assert expected in refused(arguments, capsys)


def test_a_video_without_a_display(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert "there is no display" in one_line(["watch", "run"], capsys)


def test_a_damaged_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [checkpoint] = (run / "checkpoints").glob("step-*")
    tensors = checkpoint / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    assert "is damaged" in one_line(["eval", "run"], capsys)
    assert "is damaged" in one_line(["train", "--resume", "--run-dir", "run"], capsys)
    (run / "experiment.yaml").write_text("environment: [\n")
    assert "experiment.yaml cannot be read" in one_line(["eval", "run"], capsys)
    (run / "experiment.yaml").write_text("environment: Catch-v0\nalgorithm: {name: a3c}\nspeed: 3\n")
    assert "experiment.yaml: these settings cannot be used" in one_line(["eval", "run"], capsys)


def test_a_checkpoint_of_another_environment(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "experiment.yaml"
    path.write_text(path.read_text().replace("Catch-v0", "CartPole-v1"))
    assert "trained on Catch-v0, not on CartPole-v1" in one_line(["eval", "run"], capsys)


def test_a_crash_is_exit_code_1(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "test/Crash-v0", "--runtime", "serial", "--run-dir", "run"]) == 1
    error = capsys.readouterr().err
    assert "no worker is left: worker" in error
    assert "ZeroDivisionError: the simulator broke" in error
    assert main(["eval", "run", "--episodes", "1"]) in (0, 1)  # what was learned can be loaded


def test_a_failure_in_the_first_step_says_that_nothing_was_learned(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = ["train", "tests.environments:test/Narrow-v0", "--env-option", "after=0", "--restarts", "0"]
    assert main([*narrow, "--runtime", "serial", "--run-dir", "run"]) == 1
    error = capsys.readouterr().err
    assert (
        error.splitlines()[-1] == f"nothing was learned before the run failed; {Path('run/log.txt')} says what happened"
    )
    assert "the simulator hung up" in Path("run/log.txt").read_text()


def test_a_run_with_nothing_left_to_do_says_that_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "summary.json").read_text()
    assert main(["train", "--resume", "--run-dir", "run", "--steps", "50"]) == 0
    _headline, *rest = capsys.readouterr().out.splitlines()
    more = "give more --steps, a higher --until-return or more --until-seconds"
    assert rest == [f"its 50 steps are done: nothing is left to do ({more})"]
    assert (run / "summary.json").read_text() == before


def test_plot_leaves_out_folders_in_which_no_run_has_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("killed", "empty"):
        Path(name).mkdir()
    Path("killed/.lock").touch()
    assert main(["plot", "run", "killed", "empty", "--output", "p.svg"]) == 0
    warning = "warning: left out, because no run has written anything there: killed, empty\n"
    assert capsys.readouterr().err == warning
    assert "<svg" in Path("p.svg").read_text()
    assert "killed is not a run folder" in one_line(["plot", "killed", "empty"], capsys)


def test_the_empty_folder_of_a_run_that_another_process_starts_stays(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    with locked(Path("run")):
        assert "another process works on run" in one_line(["train", "Catch", *QUICK, "--run-dir", "run"], capsys)
        assert Path("run/.lock").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_training_goes_on_where_nothing_can_be_printed(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["train", "Catch", *QUICK, "--run-dir", "run"]) == 0
        assert main(["train", "--resume", "--run-dir", "run"]) == 0
    assert json.loads(Path("run/summary.json").read_text())["status"] == "done"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("500000", 500_000),
        ("500k", 500_000),
        ("2M", 2_000_000),
        ("1e6", 1_000_000),
        ("1.5m", 1_500_000),
        ("1_000", 1000),
    ],
)
def test_counts_of_steps(text: str, steps: int) -> None:
    assert parse_steps(text) == steps


@pytest.mark.parametrize("text", ["", "x", "1.5", "k", "1e400", "nan"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        parse_steps(text)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["eval", "--help"], ["--version"]])
def test_help_does_not_import_torch(arguments: list[str]) -> None:
    code = f"import sys; from asyncrl.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_doctor_looks_at_a_run_too(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(run)]) in (0, 1)
    out = capsys.readouterr().out
    assert "torch" in out
    assert "workers' time" in out
    assert "no run folder" in refused(["doctor", "elsewhere"], capsys)


def test_the_doctor_names_the_extra_that_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "problem", lambda: "llvmlite is not installed")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["doctor"]) in (0, 1)
    assert install_command("asyncrl[fast]") in " ".join(capsys.readouterr().out.split())


def test_the_doctor_says_to_upgrade_a_compiler_that_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llvmlite")  # without it the doctor says how to install it
    monkeypatch.setattr(kernels, "problem", lambda: "llvmlite does not work here")
    assert main(["doctor"]) in (0, 1)
    assert "install --upgrade llvmlite" in capsys.readouterr().out


@pytest.mark.parametrize(("environment", "chosen"), [("Catch", 64), ("Acrobot-v1", 16), ("ALE/Pong-v5", 16)])
def test_the_number_of_environments_is_chosen_by_their_kind(environment: str, chosen: int) -> None:
    assert experiment_from([environment, "--envs-per-worker", "auto"]).envs_per_worker == chosen


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    out = capsys.readouterr().out
    assert "paper/atari-57-ff" in out
    assert "tuned/atari" in out
    assert main(["algorithms"]) == 0
    assert "a3c" in capsys.readouterr().out
    assert main(["doctor"]) in (0, 1)
    assert "torch" in capsys.readouterr().out
