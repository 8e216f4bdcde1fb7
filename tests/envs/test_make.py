"""Ids made into vectors, and one clear line for each that cannot be."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.envs import atari
from asyncrl.envs.catch import CatchVectorEnv
from asyncrl.envs.make import describe, find_spec, frames_per_step, make_environments
from asyncrl.errors import UserError


def test_each_id_takes_its_fastest_way() -> None:
    assert isinstance(make_environments("Catch-v0", {}, 2), CatchVectorEnv)
    assert type(make_environments("CartPole-v1", {}, 2)).__name__ == "CartPoleVectorEnv"
    assert isinstance(make_environments("Acrobot-v1", {}, 2), SyncVectorEnv)
    assert isinstance(make_environments("ALE/Pong-v5", {}, 2), AtariVectorEnv)


def test_a_missing_version_means_the_newest() -> None:
    assert find_spec("CartPole").id == "CartPole-v1"
    assert find_spec("Catch").id == "Catch-v0"
    assert find_spec("ALE/Pong").id == "ALE/Pong-v5"


def test_module_and_id() -> None:
    assert find_spec("tests.environments:test/Clock-v0").id == "test/Clock-v0"
    with pytest.raises(UserError, match="cannot import 'no_such_module'"):
        find_spec("no_such_module:Some-v0")


@pytest.mark.parametrize(
    ("wrong", "right"), [("CartPol-v1", "CartPole-v1"), ("ALE/Pogn-v5", "ALE/Pong-v5"), ("catch", "Catch-v0")]
)
def test_an_unknown_id_names_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UserError, match=f"unknown environment '{wrong}'.*{right}"):
        find_spec(wrong)


def test_a_missing_package_names_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minigrid", None)
    with pytest.raises(UserError, match="pip install minigrid"):
        find_spec("MiniGrid-Empty-5x5-v0")
    monkeypatch.setitem(sys.modules, "Box2D", None)
    monkeypatch.setitem(sys.modules, "gymnasium.envs.box2d", None)
    with pytest.raises(UserError, match=r"pip install .gymnasium\[box2d\]"):
        make_environments("LunarLander-v3", {}, 1)


def test_wrong_options_are_one_line() -> None:
    with pytest.raises(UserError, match="Catch-v0 cannot be made") as caught:
        make_environments("Catch-v0", {"colour": 3}, 1)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="ALE/Pong-v5 does not take these options"):
        make_environments("ALE/Pong-v5", {"colour": 3}, 1)


def test_dict_observations_are_flattened() -> None:
    info = describe("test/Rooms-v0", {})
    assert info.observation_space.shape == (5,)  # one of three rooms, two lights
    assert isinstance(info.observation_space, Box)
    assert isinstance(info.action_space, Discrete)


def test_atari_keeps_what_its_id_promises() -> None:
    modern = atari.settings(find_spec("ALE/Pong-v5"), {})
    assert (modern["repeat_action_probability"], modern["frameskip"], modern["reward_clipping"]) == (0.25, 4, False)
    classic = atari.settings(find_spec("PongNoFrameskip-v4"), {})
    assert (classic["repeat_action_probability"], classic["frameskip"]) == (0.0, 4)
    assert (
        atari.settings(find_spec("ALE/Pong-v5"), {"repeat_action_probability": 0.0})["repeat_action_probability"] == 0
    )
    assert frames_per_step("ALE/Pong-v5", {}) == 4
    assert frames_per_step("CartPole-v1", {}) == 1
    with pytest.raises(UserError, match="take ALE/Pong-v5"):
        make_environments("Pong-v4", {}, 1)


def test_the_atari_screen_stays_in_step_with_the_game() -> None:
    environment = make_environments("ALE/Breakout-v5", {}, 1, render=True)
    plain = make_environments("ALE/Breakout-v5", {}, 1)
    observation, _ = environment.reset(seed=3)
    same, _ = plain.reset(seed=3)
    assert np.array_equal(observation, same)
    random = np.random.default_rng(0)
    frames = set()
    for _ in range(200):
        action = random.integers(0, 4, 1)
        observation, reward, *_ = environment.step(action)
        same, same_reward, *_ = plain.step(action)
        assert np.array_equal(observation, same)
        assert reward == same_reward
        (frame,) = environment.render()
        frames.add(frame.tobytes())
        # the colour frame shows the same picture as the newest grey one: compare the bright part of both
        grey = frame[:, :, :3].astype(float) @ [0.299, 0.587, 0.114]
        small = grey[: 84 * 2, : 84 * 1].mean()
        assert abs(small - float(observation[0, -1, : int(84 * 168 / 210), : int(84 * 84 / 160)].mean())) < 6
    assert len(frames) > 100
