"""`asyncrl.train` from Python: environments, networks and algorithms as objects, and one line for what cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit, TransformReward

import asyncrl
from asyncrl import UserError, given
from asyncrl.algorithms import A3C, ALGORITHMS
from asyncrl.cli import main
from asyncrl.networks.torso import VectorTorso
from asyncrl.resolution import starting_point
from tests.environments import Clock, Rooms
from tests.runtime.processes import PYTHONPATH

QUICK: dict[str, Any] = {"runtime": "serial", "workers": 1, "envs_per_worker": 2, "steps": 200, "until_return": None}


@dataclass(frozen=True)
class Patient(A3C):
    """An algorithm of a user."""

    patience: int = 3


def test_a_class_and_an_algorithm_are_given_as_objects_and_saved_by_import_path(in_tmp: Path) -> None:
    result = asyncrl.train(
        Clock, algorithm=Patient(rollout_length=7, patience=4), torso=VectorTorso_8, run_dir="run", **QUICK
    )
    settings = (in_tmp / "run" / "experiment.yaml").read_text()
    for line in (
        "environment: tests.environments:Clock",
        "name: tests.test_api:Patient",
        "rollout_length: 7",
        "patience: 4",
        "torso: tests.test_api:VectorTorso_8",
    ):
        assert line in settings
    assert result.load().evaluate(episodes=2).length_mean == 3  # a Clock's episode has three steps
    assert "cannot be imported" not in (in_tmp / "run" / "log.txt").read_text()
    imports = ["--import", "tests.environments", "tests.test_api"]
    assert main(["eval", "run", "--episodes", "2", *imports]) == 0
    more = asyncrl.train(Clock, resume=True, run_dir="run", steps=400, modules=["tests.test_api"])
    assert more.summary["steps"] >= 400


def VectorTorso_8(space: gymnasium.spaces.Box) -> torch.nn.Module:  # noqa: N802
    return VectorTorso(space, (8,))


def test_the_fields_of_an_algorithm_count_as_given_settings(in_tmp: Path) -> None:
    default, algorithm = starting_point("CartPole-v1").algorithm, A3C(rollout_length=7)
    assert isinstance(default, A3C)
    assert default.entropy_weight != algorithm.entropy_weight
    result = asyncrl.train("CartPole-v1", algorithm=algorithm, discount=0.5, run_dir="run", **QUICK)
    assert result.experiment.algorithm == A3C(rollout_length=7, discount=0.5)


def test_what_cannot_be_imported_lasts_as_long_as_the_program(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "_objects", {})
    result = asyncrl.train(
        lambda length=5: TimeLimit(Clock(length=1000), length),
        torso=lambda space: VectorTorso(space, (8,)),
        environment_options={"length": 4},
        run_dir="run",
        **QUICK,
    )
    printed = " ".join(capsys.readouterr().out.split())
    for name in ("lambda", "lambda_2"):
        assert f"warning: {name} is a Python object that cannot be imported: only this program can evaluate" in printed
    assert result.load().evaluate(episodes=2).length_mean == 4
    monkeypatch.setattr(given, "_objects", {})  # another program
    with pytest.raises(UserError, match="the torso 'lambda_2' was defined in the program that trained"):
        result.load()
    assert main(["eval", "run"]) == 2


def test_without_its_environment_an_agent_still_predicts(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "_objects", {})
    result = asyncrl.train(lambda: Rooms(), run_dir="run", **QUICK)
    monkeypatch.setattr(given, "_objects", {})
    agent = asyncrl.load(result.run_dir)
    action, _ = agent.predict({"room": 2, "light": np.zeros(2)})
    assert action in (5, 6)
    with pytest.raises(UserError, match="the environment 'lambda' was defined in the program that trained"):
        agent.evaluate(episodes=1)


def test_the_same_object_has_one_name_and_two_objects_have_two() -> None:
    one, two = (lambda: 1), (lambda: 2)
    assert given.keep(one) == given.keep(one) != given.keep(two)


SCRIPT = """
import gymnasium
import asyncrl
from asyncrl.algorithms import A3C
from asyncrl.networks.torso import VectorTorso
from tests.environments import Clock

print("imported")

class Mine(A3C):
    pass

class Watch(Clock):
    pass

if __name__ == "__main__":
    settings = {"workers": 1, "envs_per_worker": 4, "steps": 500}
    size = 8
    asyncrl.train(Watch, algorithm=Mine(rollout_length=7), run_dir="named", **settings)
    result = asyncrl.train(
        lambda: Watch(length=size),
        torso=lambda space: VectorTorso(space, (size,)),
        run_dir="lambda",
        eval_every=200,
        eval_episodes=2,
        **settings,
    )
    print(result.load().evaluate(episodes=2).length_mean)
"""


@pytest.mark.timeout(250)
def test_workers_get_classes_of_the_script_and_lambdas(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "mine.py").write_text(SCRIPT)
    done = run_python("mine.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "8.0"
    assert "Traceback" not in done.stderr
    assert (in_tmp / "lambda" / "evaluations.jsonl").read_text()  # the evaluator's process has them too
    assert "environment: mine:Watch" in (in_tmp / "named" / "experiment.yaml").read_text()
    other = run_python("-m", "asyncrl", "eval", "named", "--import", "mine", "--episodes", "2", "--json")
    assert other.returncode == 0, other.stderr
    assert '"length_mean": 3.0' in other.stdout


def run_python(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run(
        [sys.executable, *arguments], input=stdin, env=environment, capture_output=True, text=True, timeout=250
    )


@pytest.mark.timeout(250)
def test_python_c_needs_no_guard(in_tmp: Path) -> None:
    program = "import asyncrl; print(asyncrl.train('Catch', steps=500, workers=1, quiet=True).summary['status'])"
    done = run_python("-c", program)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


UNGUARDED = {
    "bare": ("import asyncrl\nasyncrl.train('Catch', run_dir='run')\n", 2),
    "in a function": ("import asyncrl\ndef f():\n    asyncrl.train('Catch', run_dir='run')\n\nf()\n", 5),
    "beside a guard": ("import asyncrl\nif __name__ == '__main__':\n    pass\nasyncrl.train('Catch')\n", 4),
}


@pytest.mark.parametrize("name", UNGUARDED)
@pytest.mark.timeout(60)
def test_a_script_without_a_guard_is_refused_before_a_worker_starts(in_tmp: Path, name: str) -> None:
    text, line = UNGUARDED[name]
    (in_tmp / "mine.py").write_text(text)
    done = run_python("mine.py")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert f"mine.py, line {line}: put this under \"if __name__ == '__main__':\"" in done.stderr.splitlines()[-1]
    assert [path.name for path in in_tmp.iterdir()] == ["mine.py"]


@pytest.mark.timeout(60)
def test_a_program_from_standard_input_is_refused_and_trains_in_one_process(in_tmp: Path) -> None:
    done = run_python("-", stdin="import asyncrl\nasyncrl.train('Catch')\n")
    assert "worker processes cannot import a program that comes from <stdin>" in done.stderr.splitlines()[-1]
    assert not list(in_tmp.iterdir())
    serial = "import asyncrl\nasyncrl.train('Catch', steps=200, runtime='serial', workers=1, quiet=True)\n"
    done = run_python("-", stdin=serial)
    assert done.returncode == 0, done.stderr


def test_an_object_that_cannot_reach_the_workers_is_refused_before_they_start(in_tmp: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(UserError, match=r"cannot be sent to worker processes .*top level of a module, or train with"):
        asyncrl.train(lambda: Clock(length=1 + lock.locked()))
    assert not list(in_tmp.iterdir())


@pytest.mark.parametrize(
    ("environment", "settings", "message"),
    [
        (gymnasium.make("CartPole-v1"), {}, r"its id \('CartPole-v1'\), its class, or a function that makes one"),
        (gymnasium.make_vec("CartPole-v1", 2), {}, "takes no environment that is already made"),
        (Clock(), {}, "takes no environment that is already made"),
        (3, {}, "environment takes a name, an import path, a class or a function, not a int"),
        (
            "tests.environments:Clok",
            {},
            "the module 'tests.environments' has no environment 'Clok': did you mean tests.env",
        ),
        ("Catch", {"algorithm": 3}, "algorithm takes a name, or a dataclass with the methods of Algorithm"),
        ("Catch", {"torso": torch.nn.Linear(1, 1)}, "torso takes a name, an import path, a class or a function, not a"),
        ("Catch", {"step": 5}, "no setting 'step': did you mean 'steps'"),
        ("Catch", {"callback": []}, "no setting 'callback': did you mean 'callbacks'"),
        ("Catch", {"wrappers": 3}, "wrappers takes import paths module:function, functions and classes, not 3"),
        ("Catch", {"wrappers": "larger"}, "takes an import path module:function, not 'larger'"),
        ("Catch", {"environment_options": "x"}, "environment_options takes a dictionary"),
        ("Catch", {"rundir": "a"}, "no setting 'rundir': did you mean 'run_dir'"),
        ("Catch", {"steps": 1.5}, "steps"),
    ],
)
def test_wrong_arguments_get_a_hint(in_tmp: Path, environment: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        asyncrl.train(environment, **settings)
    assert not list(in_tmp.iterdir())


def larger_rewards(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return TransformReward(env, lambda reward: 10 * float(reward))


@pytest.mark.parametrize("wrappers", [larger_rewards, [larger_rewards], "tests.test_api:larger_rewards"])
def test_wrappers_are_functions_or_import_paths_one_or_several(in_tmp: Path, wrappers: Any) -> None:
    result = asyncrl.train("Catch", wrappers=wrappers, quiet=True, **QUICK)
    assert result.experiment.wrappers == ("tests.test_api:larger_rewards",)
    agent = result.load()
    assert agent.evaluate(episodes=3).return_max in (-10, 10)
    assert str(agent).startswith("a3c agent for Catch-v0 after 2")
    assert len(str(agent).splitlines()) == 3


def test_whole_floats_are_taken_for_whole_numbers(in_tmp: Path) -> None:
    experiment = asyncrl.train("Catch", **{**QUICK, "steps": 2e2, "eval_every": 1e6, "workers": 1.0}).experiment
    assert (experiment.steps, experiment.supervision.eval_every, experiment.workers) == (200, 1_000_000, 1)
    assert isinstance(experiment.steps, int)


def test_a_result_prints_in_five_lines(in_tmp: Path) -> None:
    result = asyncrl.train("CartPole-v1", run_dir="run", seed=7, **QUICK)
    what, end, reached, folder, agent = str(result).splitlines()
    assert what == "a3c on CartPole-v1, preset tuned/cartpole, seed 7"
    assert end.startswith("done after 2")
    assert reached.startswith("mean return of the last 100 episodes: ")
    assert (folder, agent) == ("run folder: run", "agent: asyncrl.load('run')")


def test_a_quiet_run_prints_warnings_only(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncrl.train("Catch", quiet=True, **QUICK)
    assert capsys.readouterr().out == ""
    asyncrl.train(lambda: Clock(), quiet=True, **QUICK)
    assert capsys.readouterr().out.startswith("warning: lambda")


def test_the_public_names_are_listed() -> None:
    assert {"train", "load", "Agent", "Callback", "Result", "UserError", "__version__"} <= set(dir(asyncrl))
    assert {cls.__name__ for cls in ALGORITHMS.values()} <= set(dir(asyncrl))
    assert asyncrl.A3C is A3C


NOTEBOOK = [
    """
import asyncrl
from tests.environments import Clock
class Watch(Clock):
    pass
result = asyncrl.train(Watch, steps=500, workers=1, envs_per_worker=4)
""",
    "result",
    "asyncrl.load(result.run_dir).evaluate(episodes=2).length_mean",
]


@pytest.mark.timeout(250)
def test_a_notebook_trains_its_own_class_and_shows_progress(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in NOTEBOOK])
    NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
    training, shown, evaluated = (cell.outputs for cell in notebook.cells)
    bars = [output.data["text/html"] for output in training if output.output_type == "display_data"]
    assert len(bars) == 1
    assert "(100 %)" in bars[0]
    assert "<progress" in bars[0]
    assert "onestep-q on asyncrl.given:Watch" in shown[0].data["text/plain"]
    assert evaluated[0].data["text/plain"] == "3.0"
