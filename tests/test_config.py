"""Experiments: their YAML form, presets, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asyncrl.algorithms import ALGORITHMS, algorithm_name
from asyncrl.cli.train import experiment_from
from asyncrl.cli.train_options import parse_given
from asyncrl.config import GROUPS, from_dict, setting, to_dict
from asyncrl.errors import UserError
from asyncrl.hints import OTHER_NAMES
from asyncrl.presets import PRESETS, default_preset, find_preset
from asyncrl.resolution import resolve, starting_point
from asyncrl.run_folder import RunFolder
from asyncrl.settings import OptimizerSettings
from asyncrl.types import Kind


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_an_experiment_survives_its_file(tmp_path: Path, preset: object) -> None:
    for algorithm in preset.algorithms:  # type: ignore[attr-defined]
        experiment = preset.settings("ALE/Pong-v5", algorithm)  # type: ignore[attr-defined]
        assert algorithm_name(experiment.algorithm) == algorithm
        folder = RunFolder(tmp_path)
        folder.write_experiment(experiment)
        assert folder.read_experiment() == experiment


def test_the_paper_preset_is_the_papers() -> None:
    experiment = find_preset("paper/atari-57-lstm").settings("ALE/Pong-v5", None)
    assert experiment.network.memory == "lstm"
    assert experiment.network.memory_size == 256
    assert experiment.optimizer.optimizer == "shared-rmsprop"
    assert (experiment.optimizer.epsilon, experiment.optimizer.decay) == (0.1, 0.99)
    assert (experiment.envs_per_worker, experiment.episode_rollouts) == (1, True)


@pytest.mark.parametrize(
    ("environment", "preset"),
    [
        ("Catch-v0", "tuned/catch"),
        ("CatchMemory-v0", "tuned/catch-memory"),
        ("CartPole-v1", "tuned/cartpole"),
        ("ALE/Pong-v5", "tuned/atari"),
        ("PongNoFrameskip-v4", "tuned/atari"),
        ("Acrobot-v1", "tuned/acrobot"),
        ("MinAtar/Breakout-v1", "tuned/minatar"),
        ("HalfCheetah-v5", "tuned/mujoco"),
        ("Taxi-v3", "tuned/default"),
    ],
)
def test_the_default_preset(environment: str, preset: str) -> None:
    assert default_preset(environment).name == preset


def test_minatar_trains_with_pqn_unless_another_algorithm_is_named() -> None:
    assert algorithm_name(starting_point("MinAtar/Freeway-v1").algorithm) == "pqn"
    assert algorithm_name(starting_point("MinAtar/Freeway-v1", None, "a3c").algorithm) == "a3c"


def test_pqn_has_normalised_layers_wherever_actions_are_discrete() -> None:
    environments = ["Catch", "CatchMemory", "CartPole-v1", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1"]
    for environment in [*environments, "ALE/Pong-v5", "FrozenLake-v1", "MountainCar-v0"]:
        assert starting_point(environment, None, "pqn").network.layer_norm
        assert not starting_point(environment, None, "dqn").network.layer_norm
    pictures = find_preset("tuned/default").settings("CarRacing-v3", "pqn", Kind("images", "discrete"))
    assert pictures.network.layer_norm


def test_settings_are_found_by_name_anywhere_in_the_tree() -> None:
    experiment = resolve(starting_point("Catch"), {"steps": 5, "entropy_weight": 0.5, "optimizer": "shared-rmsprop"})
    assert experiment.steps == 5
    assert experiment.algorithm.entropy_weight == 0.5  # type: ignore[attr-defined]
    assert experiment.optimizer.optimizer == "shared-rmsprop"


def test_only_given_settings_replace_those_of_the_start() -> None:
    start = starting_point("Catch")
    assert resolve(start, {}) == start
    resolved = resolve(start, {"environment_options": {"rows": 12}})
    assert resolved == dataclasses.replace(start, environment_options={"rows": 12})
    both = resolve(resolved, {"environment_options": {"columns": 5}})
    assert both.environment_options == {"rows": 12, "columns": 5}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stesp": 5}, "a3c has no setting 'stesp': did you mean 'steps'"),
        ({"final_epsilons": (0.1,)}, "a3c has no setting 'final_epsilons'"),
        ({"network": {}}, "a3c has no setting 'network'"),
        ({"steps": "many"}, "steps takes a whole number, not 'many'"),
        ({"hidden": (64, "x")}, r"hidden takes a list \(each part a whole number\), not \(64, 'x'\)"),
        ({"memory": "LSTM"}, "memory takes 'none' or 'lstm' or 'gru', not 'LSTM'"),
        ({"learning_rate": "high"}, "learning_rate takes a number, not 'high'"),
        ({"learning_rate_range": (1e-3,)}, "learning_rate_range takes a list of 2"),
        ({"environment_options": "x"}, "environment_options takes a dictionary of keyword arguments, not 'x'"),
        ({"n_steps": 5}, "no setting 'n_steps': asyncrl calls it 'rollout_length'"),
        ({"batch_size": 5}, "a3c has no setting 'batch_size': leave it out, or take dqn"),
        ({"colour": 1}, "a3c has no setting 'colour': 'asyncrl train --help' lists all"),
        ({"policy_kwargs": {}}, "no setting 'policy_kwargs': asyncrl calls it 'hidden' and 'torso'"),
        ({"optimizer": "shared-magic"}, "unknown optimizer 'shared-magic'"),
        ({"learning_rate": 1e-3, "learning_rate_range": (1e-3, 1e-2)}, "cannot both be given"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(starting_point("Catch"), given)
    assert "\n" not in str(caught.value)


def test_one_value_counts_as_a_list_of_one() -> None:
    experiment = resolve(starting_point("Catch"), {"hidden": 48, "trackers": "trackio", "learning_rate": "1e-4"})
    assert experiment.network.hidden == (48,)
    assert experiment.supervision.trackers == ("trackio",)
    assert experiment.optimizer.learning_rate == 1e-4


def test_settings_that_stand_for_names_of_other_libraries_exist() -> None:
    names: set[str] = {"env_option"}
    for algorithm in ALGORITHMS:
        experiment = starting_point("Catch", algorithm=algorithm)
        groups = (experiment, *(getattr(experiment, group) for group in GROUPS))
        names |= {field.name for group in groups for field in dataclasses.fields(group)}
    assert {name for same in OTHER_NAMES.values() for name in same} <= names


def test_the_command_line_and_python_make_the_same_experiment() -> None:
    words = "Catch --algorithm sarsa --steps 2k --hidden 8 9 --no-separate --until-return None --env-option rows=12"
    settings = {"steps": 2000, "hidden": (8, 9), "separate": False, "until_return": None}
    from_python = resolve(starting_point("Catch", algorithm="sarsa"), {**settings, "environment_options": {"rows": 12}})
    assert experiment_from(words.split()) == from_python


def test_a_setting_can_be_turned_off_by_its_own_algorithm() -> None:
    assert parse_given(["Catch", "--algorithm", "acer", "--no-retrace"])["retrace"] is False


def test_a_setting_that_is_given_at_its_default_counts_as_given() -> None:
    words = ["ALE/Pong-v5", "--preset", "paper/atari-study-ff"]
    default = OptimizerSettings().learning_rate
    assert experiment_from([*words, "--learning_rate", str(default)]).optimizer.learning_rate == default
    assert "learning_rate" in parse_given([*words, f"--learning-rate={default}"])
    assert parse_given([*words, "--steps", "5"]).keys() >= {"steps"}
    assert "learning_rate" not in parse_given([*words, "--steps", "5"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "many"}, "steps takes a whole number, not 'many'"),
        ({"steps": -1}, "--steps must be positive"),
        ({"speed": 1}, "speed"),
        ({"network": {"memory": "elephant"}}, "memory"),
        ({"network": {"width": 3}}, "width"),
        ({"optimizer": 3}, "optimizer"),
        ({"algorithm": {"name": "a4c"}}, "unknown algorithm"),
        ({"algorithm": {}}, "does not name its algorithm"),
        ({"algorithm": {"name": "a3c", "discount": 2}}, "--discount"),
        ({"algorithm": None}, "'algorithm' should hold"),
    ],
)
def test_a_wrong_experiment_file_is_one_line(change: dict[str, object], message: str) -> None:
    data = {**to_dict(find_preset("tuned/catch").settings("Catch-v0", None)), **change}
    with pytest.raises(UserError, match=message) as caught:
        from_dict(data)
    assert "\n" not in str(caught.value)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["environment", "algorithm", "network", "optimizer", "steps", "x"]), json_like))
def test_whatever_the_file_holds_it_is_an_experiment_or_one_error(data: dict[str, object]) -> None:
    with contextlib.suppress(UserError):
        from_dict(yaml.safe_load(yaml.safe_dump(data)))


def test_the_study_of_2016_for_each_method() -> None:
    for algorithm in ("nstep-q", "onestep-q", "sarsa"):
        experiment = find_preset("paper/atari-study-ff").settings("ALE/Pong-v5", algorithm)
        method: Any = experiment.algorithm
        assert (method.rollout_length, method.target_interval, method.exploration_steps) == (5, 40_000, 4_000_000)
        assert (method.final_epsilons, method.epsilon_probabilities) == ((0.1, 0.01, 0.5), (0.4, 0.3, 0.3))


def test_a_learning_rate_is_drawn_log_uniformly_by_the_seed() -> None:
    start = starting_point("Catch")
    rates = [
        resolve(start, {"learning_rate_range": (1e-4, 1e-2), "seed": seed}).optimizer.learning_rate
        for seed in range(400)
    ]
    assert min(rates) >= 1e-4
    assert max(rates) <= 1e-2
    assert sum(rate < 1e-3 for rate in rates) == pytest.approx(200, abs=40)  # 1e-3 is the middle
    saved = resolve(start, {"learning_rate_range": (1e-4, 1e-2), "seed": 7})
    assert resolve(saved, {"steps": 10**7}).optimizer.learning_rate == rates[7]  # a resumed run keeps it
    with pytest.raises(UserError, match="--learning-rate-range takes two positive numbers"):
        resolve(start, {"learning_rate_range": (1e-2, 1e-4)})


def test_an_algorithm_keeps_the_environments_preset() -> None:
    a3c, sarsa = starting_point("Catch"), starting_point("Catch", None, "sarsa")
    assert sarsa.preset == "tuned/catch"
    assert algorithm_name(sarsa.algorithm) == "sarsa"
    assert sarsa.network == a3c.network


def test_a_learning_rate_given_by_hand_takes_the_place_of_a_range() -> None:
    arguments = ["ALE/Pong-v5", "--preset", "paper/atari-study-ff"]
    assert 1e-4 <= experiment_from(arguments).optimizer.learning_rate <= 1e-2
    assert experiment_from([*arguments, "--learning-rate", "7e-4"]).optimizer.learning_rate == 7e-4
    with pytest.raises(UserError, match="cannot both be given"):
        experiment_from([*arguments, "--learning-rate", "7e-4", "--learning-rate-range", "1e-3", "1e-2"])


def test_a_preset_is_for_its_algorithms() -> None:
    with pytest.raises(UserError, match="paper/atari-57-ff has settings for a3c only"):
        starting_point("ALE/Pong-v5", "paper/atari-57-ff", "sarsa")


def test_a_setting_is_read_by_its_own_name() -> None:
    experiment = starting_point("Catch")
    read = {name: setting(experiment, name) for name in ("algorithm", "optimizer", "memory", "envs_per_worker")}
    assert read == {"algorithm": "a3c", "optimizer": "shared-adam", "memory": "none", "envs_per_worker": 64}
    with pytest.raises(UserError, match="a3c has no setting 'final_epsilons'"):
        setting(experiment, "final_epsilons")
