"""Ids made into vectors, and one clear line for each that cannot be."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from ale_py.vector_env import AtariVectorEnv
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import tests.environments
from asyncrl.envs import atari
from asyncrl.envs.actions import action_codec
from asyncrl.envs.catch import CatchVectorEnv
from asyncrl.envs.ids import find_spec
from asyncrl.envs.make import describe, frame_stack, frames_per_step, make_environments, make_vector
from asyncrl.envs.observations import observation_codec
from asyncrl.errors import UserError
from asyncrl.installing import install_command
from asyncrl.networks.images import channels_last
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.types import Decision
from tests.experiments import small


def test_each_id_takes_its_fastest_way() -> None:
    assert isinstance(make_vector("Catch-v0", {}, 2), CatchVectorEnv)
    assert type(make_vector("CartPole-v1", {}, 2)).__name__ == "CartPoleVectorEnv"
    assert isinstance(make_vector("Acrobot-v1", {}, 2), SyncVectorEnv)
    assert isinstance(make_vector("ALE/Pong-v5", {}, 2), atari.PackedFrames)


def test_a_class_or_function_is_named_by_its_import_path() -> None:
    spec = find_spec("tests.environments:Clock")
    assert (spec.id, spec.entry_point) == ("Clock", tests.environments.Clock)
    vector = make_vector("tests.environments:Clock", {"length": 2}, 3)
    assert vector.reset()[0].shape == (3, 2)
    assert make_vector(f"{__name__}:short_clock", {}, 1, render=True).reset()[0].shape == (1, 2)
    assert find_spec("tests.environments:test/Clock-v0").id == "test/Clock-v0"


def short_clock() -> tests.environments.Clock:
    return tests.environments.Clock(length=2)


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
    with pytest.raises(UserError, match=re.escape(install_command("asyncrl[minigrid]"))):
        find_spec("MiniGrid-Empty-5x5-v0")
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for name in ("gymnasium.envs.box2d", "gymnasium.envs.box2d.lunar_lander"):  # another test may have imported both
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=re.escape(install_command("asyncrl[box2d]"))):
        make_vector("LunarLander-v3", {}, 1)


@pytest.mark.parametrize(
    ("environment", "shape"),
    [("HalfCheetah-v5", (17,)), ("LunarLander-v3", (8,)), ("MinAtar/Breakout-v1", (10, 10, 4))],
)
def test_environments_of_the_extras(environment: str, shape: tuple[int, ...]) -> None:
    experiment = small(environment)
    info = describe(experiment)
    assert info.observation_space.shape == shape
    environments = make_environments(experiment, 2)
    gatherer = Collector(environments, (), RolloutRules(5, 0.9), seed=0)
    zeros = torch.zeros(1, 2, *gatherer.codec.shape, dtype=torch.from_numpy(gatherer.buffer.actions).dtype)
    rollout = gatherer.collect(lambda observations, state, first: Decision(zeros, state))
    environments.close()
    assert rollout.observations.shape == (6, 2, *shape)
    assert rollout.observations.dtype != torch.float64


def test_a_lander_may_fly_higher_than_its_space_says() -> None:
    environments = make_environments(small("LunarLander-v3"), 1)
    collector = Collector(environments, (), RolloutRules(320, 0.9), seed=0)

    def fly_up(observations: Any, state: Any, first: Any) -> Decision:
        angle = observations[..., 4]
        return Decision(torch.where(angle.abs() < 0.1, 2, torch.where(angle > 0, 3, 1)), state)

    rollout = collector.collect(fly_up)
    environments.close()
    assert float(rollout.observations[..., 1].max()) > 4


def test_mujoco_prints_what_concerns_the_run_once_and_leaves_no_file(tmp_path: Path) -> None:
    script = """
import numpy
from asyncrl.envs.make import make_vector
environments = make_vector("HalfCheetah-v5", {}, 3)  # its model uses an attribute that is deprecated
environments.reset(seed=0)
for environment in environments.envs:
    environment.unwrapped.data.qvel[:] = 1e12
    environment.step(numpy.ones(6))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "deprecated" in line or "MuJoCo" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: MuJoCo: Nan, Inf or huge value in QVEL")
    assert not list(tmp_path.iterdir())


class SameStep(VectorEnv[Any, Any, Any]):
    """Resets itself on the step that ends an episode, or does not say when."""

    def __init__(self, num_envs: int, mode: Any = AutoresetMode.SAME_STEP) -> None:
        self.num_envs, self.metadata = num_envs, {"autoreset_mode": mode}
        self.single_observation_space, self.single_action_space = Box(0, 1, (2,)), Discrete(2)


@pytest.mark.parametrize(("options", "mode"), [({}, "SAME_STEP"), ({"mode": None}, "None")])
def test_a_vector_that_resets_itself_otherwise_is_refused_with_the_reason(options: dict[str, Any], mode: str) -> None:
    with pytest.raises(UserError, match=rf"the autoreset mode {mode} in .*: asyncrl needs .*NEXT_STEP .* or an entry_"):
        make_vector("test/SameStep-v0", options, 2)
    with pytest.raises(UserError, match="no single environment to draw"):
        make_vector("test/SameStep-v0", options, 1, render=True)


def test_wrong_options_are_one_line() -> None:
    with pytest.raises(UserError, match="Catch-v0 cannot be made") as caught:
        make_vector("Catch-v0", {"colour": 3}, 1)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="ALE/Pong-v5 does not take these options"):
        make_vector("ALE/Pong-v5", {"colour": 3}, 1)


def test_observations_become_a_flat_dict_of_arrays() -> None:
    info = describe(small("test/Rooms-v0"))
    assert isinstance(info.observation_space, Dict)
    shapes = {key: space.shape for key, space in info.observation_space.spaces.items()}
    assert shapes == {"light": (2,), "room": (3,)}  # one of three rooms, two lights
    assert info.given_space == find_spec("test/Rooms-v0").make().observation_space


def test_minigrid_is_seen_without_its_text() -> None:
    info = describe(small("MiniGrid-DoorKey-5x5-v0"))
    assert isinstance(info.observation_space, Dict)
    assert {key: space.shape for key, space in info.observation_space.spaces.items()} == {
        "direction": (4,),
        "image": (7, 7, 3),
    }
    assert observation_codec(info.given_space).left_out == ("mission",)
    environments = make_environments(small("MiniGrid-DoorKey-5x5-v0"), 2)
    observations, _ = environments.reset(seed=0)
    environments.close()
    assert observations["direction"].sum(1).tolist() == [1, 1]


def test_float64_is_seen_as_float32() -> None:
    info = describe(small("test/Wide-v0"))
    assert info.observation_space.dtype == np.float32


@pytest.mark.parametrize(
    ("space", "agent", "environment"),
    [
        (Discrete(3, start=5), [0, 2], [5, 7]),
        (MultiDiscrete([2, 3], start=[1, 10]), [[0, 0], [1, 2]], [[1, 10], [2, 12]]),
        (Box(np.float32([0, -3]), np.float32([10, 3])), [[-1, 1], [0, 0.5]], [[0, 3], [5, 1.5]]),
        (Box(-2, 2, (1, 2), np.float64), [[-7, 1]], [[[-2, 2]]]),  # clipped, in the space's own shape
        (Box(-np.inf, np.inf, (1,)), [[123.0]], [[123.0]]),
    ],
)
def test_actions_reach_the_environment_in_its_own_terms(space: Any, agent: Any, environment: Any) -> None:
    codec = action_codec(space)
    given = codec.to_environment(np.array(agent, codec.dtype))
    np.testing.assert_allclose(given, environment)
    assert all(action in space for action in given)


def test_one_hot_actions() -> None:
    assert action_codec(Discrete(3, start=5)).one_hot(np.array([5, 7])).tolist() == [[1, 0, 0], [0, 0, 1]]
    multi = action_codec(MultiDiscrete([2, 3]))
    assert multi.one_hot(np.array([[1, 2]])).tolist() == [[0, 1, 0, 0, 1]]
    assert action_codec(Box(-2, 2, (2,))).one_hot(np.array([[0.5, 2.0]])).tolist() == [[0.25, 1.0]]


@pytest.mark.parametrize("truncate", [True, False])
def test_last_action_and_reward_are_zero_where_an_episode_starts(truncate: bool) -> None:
    experiment = small("test/Clock-v0", last_action_reward=True, reward_clip=2.0)
    experiment = dataclasses.replace(experiment, environment_options={"length": 3, "truncate": truncate})
    environments = make_environments(experiment, 1)
    observations, _ = environments.reset(seed=0)
    seen = [observations]
    for action in (1, 0, 1, 1, 0):  # the third ends the episode, the fourth is the dummy that resets it
        seen.append(environments.step(np.array([action]))[0])
    assert [o["last_action"][0].tolist() for o in seen] == [[0, 0], [0, 1], [1, 0], [0, 1], [0, 0], [1, 0]]
    assert [float(o["last_reward"][0, 0]) for o in seen] == [0, 1, 2, 2, 0, 1]  # rewards 1, 2, 3 clipped to 2
    assert [o["observation"][0].tolist() for o in seen][4] == [1, 0]
    assert describe(experiment).observation_space == environments.single_observation_space


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
        make_vector("Pong-v4", {}, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autoreset_mode": "SameStep"}, "cannot be given autoreset_mode"),
        ({"life_loss_info": True}, "cannot be given life_loss_info .*: use --zero-discount-on-life-loss"),
        ({"episodic_life": True}, "cannot be given episodic_life .*: .* use --zero-discount-on-life-loss"),
        ({"reward_clipping": True}, "cannot be given reward_clipping .*: .* use --reward-clip"),
        ({"img_height": 0}, "img_height of at least 1"),
        ({"game": "nope"}, "does not take these options"),
    ],
)
def test_options_that_atari_games_cannot_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_vector("ALE/Pong-v5", options, 1)


@pytest.mark.parametrize("stack", [4, 3, 1])  # 4 is our own stack, others are ale-py's
def test_stacks_can_be_rebuilt_from_single_frames(stack: int) -> None:
    options = {"stack_num": stack, "max_num_frames_per_episode": 400}
    experiment = dataclasses.replace(small("ALE/Breakout-v5"), environment_options=options)
    info, environments = describe(experiment), make_environments(experiment, 2)
    assert info.frame_stack == stack
    gatherer = Collector(environments, (), RolloutRules(400, 0.9), seed=0)
    random = torch.Generator().manual_seed(0)
    rollout = gatherer.collect(lambda o, s, first: Decision(torch.randint(4, first.shape, generator=random), s))
    environments.close()
    stacks = rollout.observations if channels_last(info.observation_space) else rollout.observations.movedim(2, -1)
    frames = stacks[..., -1]  # [T+1, B, H, W]
    assert int(rollout.first.sum()) >= 4
    for column in range(2):
        rebuilt = torch.zeros_like(stacks[0, column])
        for t in range(401):
            if rollout.first[t, column]:
                rebuilt = torch.zeros_like(rebuilt)
            rebuilt = torch.cat([rebuilt[..., 1:], frames[t, column, ..., None]], -1)
            assert torch.equal(rebuilt, stacks[t, column]), t


def test_only_stacked_frames_are_called_a_stack() -> None:
    assert describe(small("CartPole-v1")).frame_stack == 1
    colour = dataclasses.replace(small("ALE/Pong-v5"), environment_options={"grayscale": False})
    assert frame_stack(colour) == 1  # colour frames have an axis of their own


def test_packed_frames_are_the_native_stacks() -> None:
    short = {"max_num_frames_per_episode": 400}  # episodes end by truncation, and some by lost lives
    packed = make_vector("ALE/Breakout-v5", short, 3)
    arguments = atari.settings(find_spec("ALE/Breakout-v5"), short)
    native = AtariVectorEnv(num_envs=3, **arguments)
    assert packed.single_observation_space == Box(0, 255, (84, 84, 4), np.uint8)
    observations, _ = packed.reset(seed=3)
    expected, _ = native.reset(seed=3)
    random, ends = np.random.default_rng(0), 0
    for _ in range(300):
        assert np.array_equal(observations, expected.transpose(0, 2, 3, 1))
        actions = random.integers(4, size=3)
        observations, *results, _ = packed.step(actions)
        expected, *expected_results, _ = native.step(actions)
        assert all(np.array_equal(*pair) for pair in zip(results, expected_results, strict=True))
        ends += int(results[1].sum() + results[2].sum())
    assert ends >= 6
    assert np.array_equal(packed.reset(seed=4)[0], native.reset(seed=4)[0].transpose(0, 2, 3, 1))


def test_the_atari_screen_stays_in_step_with_the_game() -> None:
    environment = make_vector("ALE/Breakout-v5", {}, 1, render=True)
    plain = make_vector("ALE/Breakout-v5", {}, 1)
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
        assert abs(small - float(observation[0, : int(84 * 168 / 210), : int(84 * 84 / 160), -1].mean())) < 6
    assert len(frames) > 100


class Fixed(gymnasium.Env[Any, Any]):
    """Observes anything in a space."""

    def __init__(self, space: Any) -> None:
        self.observation_space, self.action_space = space, Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(0)
        return self.observation_space.sample(), {}


gymnasium.register(id="test/SameStep-v0", vector_entry_point=SameStep)
gymnasium.register(id="test/Wide-v0", entry_point=lambda **_: Fixed(Box(-np.inf, np.inf, (2,), np.float64)))


def test_a_missing_package_is_named_by_the_extra_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "Box2D", None)  # Python's own way to say that there is no such module
    with pytest.raises(UserError) as caught:
        describe(small("LunarLander-v3"))
    command = install_command("asyncrl[box2d]")
    assert str(caught.value) == f"LunarLander-v3 needs a package that is not installed: {command}"
