"""What the default preset picks for each kind of environment, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from asyncrl.agent import load
from asyncrl.algorithms import algorithm_name
from asyncrl.api import train
from asyncrl.cli.train_options import parse_given
from asyncrl.config import Experiment
from asyncrl.envs.kinds import kind_of, kind_of_spaces
from asyncrl.errors import UserError
from asyncrl.presets import find_preset
from asyncrl.resolution import starting_point
from asyncrl.types import Kind
from tests.environments import Levers

IMAGE, VECTOR = Box(0, 255, (64, 64, 3), np.uint8), Box(-1, 1, (4,), np.float32)


@pytest.mark.parametrize(
    ("observations", "actions", "kind"),
    [
        (Discrete(16), Discrete(4), Kind("states", "discrete")),
        (Discrete(16, start=1), Box(-1, 1, (2,)), Kind("states", "continuous")),
        (VECTOR, Discrete(2), Kind("vectors", "discrete")),
        (VECTOR, MultiDiscrete([2, 3]), Kind("vectors", "several")),
        (Box(0, 1, (10, 10)), Box(-1, 1, (2,)), Kind("vectors", "continuous")),
        (MultiBinary(8), Discrete(2), Kind("vectors", "discrete")),
        (Tuple((Discrete(32), Discrete(11))), Discrete(2), Kind("vectors", "discrete")),
        (IMAGE, Discrete(3), Kind("images", "discrete")),
        (Dict({"arm": Dict({"camera": IMAGE}), "speed": VECTOR}), Box(-1, 1, (2,)), Kind("images", "continuous")),
        (Dict({"position": VECTOR, "room": Discrete(3)}), Discrete(2), Kind("vectors", "discrete")),
    ],
    ids=str,
)
def test_the_kind_of_an_environment_follows_from_its_spaces(
    observations: Space[Any], actions: Space[Any], kind: Kind
) -> None:
    assert kind_of_spaces(observations, actions) == kind


def test_options_of_an_environment_may_change_its_kind() -> None:
    pytest.importorskip("Box2D")
    assert kind_of("LunarLander-v3", {}) == Kind("vectors", "discrete")
    assert kind_of("LunarLander-v3", {"continuous": True}) == Kind("vectors", "continuous")


@pytest.mark.parametrize(
    ("environment", "algorithm"),
    [
        ("Taxi-v4", "onestep-q"),
        ("CliffWalking-v1", "onestep-q"),
        ("MountainCar-v0", "onestep-q"),
        ("Blackjack-v1", "onestep-q"),
        ("MountainCarContinuous-v0", "ppo"),
        (f"test/{Levers.__name__}-v0", "ppo"),  # several choices at once
    ],
)
def test_the_default_preset_chooses_an_algorithm_by_kind(environment: str, algorithm: str) -> None:
    for experiment in (starting_point(environment), starting_point(environment, "tuned/default")):
        assert experiment.preset == "tuned/default"
        assert algorithm_name(experiment.algorithm) == algorithm
    assert algorithm_name(starting_point(environment, None, "a3c").algorithm) == "a3c"


def test_numbered_states_are_learned_in_a_table() -> None:
    assert starting_point("FrozenLake-v1").network.hidden == ()
    assert starting_point("FrozenLake-v1", None, "a3c").network.hidden != ()


def test_images_are_left_to_the_convolutions() -> None:
    preset = find_preset("tuned/default")
    for actions in ("discrete", "several", "continuous"):
        experiment: Experiment = preset.settings("x-v0", None, Kind("images", actions))  # type: ignore[arg-type]
        assert algorithm_name(experiment.algorithm) == "a3c"
        assert not experiment.network.normalize_observations


def test_the_command_line_takes_the_settings_of_the_algorithm_that_the_preset_chooses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parse_given(["FrozenLake-v1", "--final-epsilons", "0.1", "--double"])["final_epsilons"] == (0.1,)
    assert parse_given(["MountainCarContinuous-v0", "--entropy-weight", "0.1"])["entropy_weight"] == 0.1
    with pytest.raises(SystemExit):
        parse_given(["FrozenLake-v1", "--env-option", "map_name=8x8", "--help"])
    shown = capsys.readouterr().out
    assert "--final-epsilons" in shown
    assert "--entropy-weight" not in shown


def test_persistence_of_exploration_is_a_probability() -> None:
    for algorithm in ("a3c", "nstep-q"):
        with pytest.raises(UserError, match=r"--exploration-persistence must lie in \[0, 1\), not 1"):
            train("Catch", algorithm=algorithm, exploration_persistence=1.0)


def test_a_small_frozen_lake_is_crossed_by_the_default_settings(tmp_path: Path) -> None:
    result = train(
        "FrozenLake-v1",
        steps=12_000,
        workers=1,
        envs_per_worker=8,
        runtime="serial",
        environment_options={"desc": ["SFF", "FHF", "FFG"], "is_slippery": False},
        exploration_steps=6_000,
        run_dir=tmp_path / "run",
    )
    agent = load(result.run_dir)
    assert agent.evaluate(episodes=20, deterministic=True).return_mean == 1.0
    assert agent.evaluate(episodes=50).return_mean > 0.9
