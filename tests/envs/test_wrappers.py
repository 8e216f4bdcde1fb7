"""Users' own wrappers: applied in order wherever an agent plays, recorded, and imported only by those who name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from gymnasium.wrappers import TimeAwareObservation, TransformReward

import asyncrl
from asyncrl.cli import main
from asyncrl.envs.make import describe, environments_for_a_worker, make_environments
from asyncrl.errors import UserError
from tests.experiments import small

MODULE = """
from gymnasium.wrappers import TransformReward
NUMBER = 3

def doubled(env):
    return TransformReward(env, lambda reward: 2 * reward)

def plus_one(env):
    return TransformReward(env, lambda reward: reward + 1)

def nothing(env):
    doubled(env)

def broken(env):
    raise ValueError("no such thing")
"""


@pytest.fixture
def module(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module `own_wrappers` in the working directory."""
    monkeypatch.syspath_prepend(str(in_tmp))
    (in_tmp / "own_wrappers.py").write_text(MODULE)
    return in_tmp


def test_wrappers_are_applied_in_order_instead_of_the_vector_form(module: Path) -> None:
    rewards = []
    for names in (("doubled", "plus_one"), ("plus_one", "doubled")):
        experiment = small("CartPole-v1", wrappers=tuple(f"own_wrappers:{name}" for name in names))
        environments = make_environments(experiment, 2)
        environments.reset(seed=0)
        rewards.append(environments.step(environments.action_space.sample())[1].tolist())
        environments.close()
    assert rewards == [[3, 3], [4, 4]]
    assert environments_for_a_worker(experiment) < environments_for_a_worker(small("CartPole-v1"))


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        ("own_wrappers:NUMBER", "the wrapper 'own_wrappers:NUMBER' is 3: name a function or class"),
        ("own_wrappers:nothing", "the wrapper 'own_wrappers:nothing' returned None: let it return"),
        ("own_wrappers:broken", "the wrapper 'own_wrappers:broken' failed with ValueError: no such thing"),
        ("own_wrappers:none", "cannot import the wrapper 'own_wrappers:none': own_wrappers has no 'none'"),
        ("no_such_module:none", "cannot import the wrapper 'no_such_module:none': No module named"),
        ("own_wrappers", "--wrapper takes an import path module:function, not 'own_wrappers'"),
    ],
)
def test_a_wrapper_that_cannot_be_used_is_one_line(module: Path, wrapper: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        describe(small("CartPole-v1", wrappers=(wrapper,)))


def test_a_run_records_its_wrappers_and_imports_them_only_when_they_are_named(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["own_wrappers:doubled", "own_wrappers:plus_one"]
    serial = ["--runtime", "serial", "--workers", "1", "--envs-per-worker", "2"]
    given = [word for path in paths for word in ("--wrapper", path)]
    assert main(["train", "CartPole-v1", *serial, *given, "--steps", "300", "--run-dir", "run"]) == 0
    assert "eval run --episodes 100 --import own_wrappers" in capsys.readouterr().out
    assert yaml.safe_load(Path("run/experiment.yaml").read_text())["wrappers"] == paths
    with pytest.raises(UserError, match="if you trust that code, add --import own_wrappers"):
        asyncrl.load("run")
    evaluation = asyncrl.load("run", modules=["own_wrappers"]).evaluate(episodes=2)
    assert evaluation.return_mean == 3 * evaluation.length_mean
    resumed = ["train", "--resume", "--run-dir", "run", "--steps", "400"]
    assert main([*resumed, "--wrapper", "own_wrappers:doubled"]) == 2
    assert "a resumed run cannot change its wrappers" in capsys.readouterr().err
    assert main([*resumed, *given]) == 0


def test_python_takes_wrappers_as_functions(in_tmp: Path) -> None:
    def generous(env: Any) -> Any:
        return TransformReward(env, lambda reward: 5 * float(reward))

    settings: dict[str, Any] = {"workers": 1, "envs_per_worker": 2, "runtime": "serial", "steps": 100}
    result = asyncrl.train("CartPole-v1", wrappers=[generous, TimeAwareObservation], quiet=True, **settings)
    agent = result.load()
    assert agent.info.observation_space.shape == (5,)
    evaluation = agent.evaluate(episodes=2)
    assert evaluation.return_mean == 5 * evaluation.length_mean


def test_the_import_option_that_is_printed_names_all_modules(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrappers = ["--wrapper", "own_wrappers:doubled", "--wrapper", "gymnasium.wrappers:NormalizeReward"]
    serial = ["--runtime", "serial", "--workers", "1", "--envs-per-worker", "2", "--steps", "100"]
    assert main(["train", "CartPole-v1", *serial, *wrappers, "--run-dir", "run"]) == 0
    option = "--import gymnasium.wrappers own_wrappers"
    assert f"eval run --episodes 100 {option}\n" in capsys.readouterr().out
    evaluation = ["eval", "run", "--episodes", "1"]
    assert main([*evaluation, "--import", "own_wrappers"]) == 2
    assert f"add {option} (in Python: modules=['gymnasium.wrappers', 'own_wrappers'])" in capsys.readouterr().err
    assert main([*evaluation, "--import", "nowhere"]) == 2
    assert "there is no module 'nowhere'" in capsys.readouterr().err
    assert main([*evaluation, "--import", "own_wrappers.py"]) == 2
    assert "modules are named without .py, not 'own_wrappers.py'" in capsys.readouterr().err
    assert main([*evaluation, *option.split()]) == 0
    assert capsys.readouterr().out.startswith("1 episode of CartPole-v1: ")
