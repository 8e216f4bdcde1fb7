"""Images made grey, resized and stacked, with Gymnasium's own wrappers and plain loops as the truth."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from gymnasium.wrappers import GrayscaleObservation

from asyncrl.config import Experiment
from asyncrl.envs.make import describe, make_environments
from asyncrl.errors import UserError
from asyncrl.networks.torso import ImageTorso, make_torso
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.settings import NetworkSettings
from asyncrl.types import Decision
from tests.experiments import small


class Film(gymnasium.Env[Any, np.int64]):
    """Observes random pictures of a shape; episodes take four steps and end by a time limit."""

    def __init__(self, shape: tuple[int, ...] = (12, 16, 3), kind: str = "box") -> None:
        self.picture = Box(0, 255, shape, np.uint8)
        self.observation_space: Any = self.picture
        if kind == "dict":
            self.observation_space = Dict({"screen": self.picture, "ammunition": Box(0, 9, (1,), np.float32)})
        if kind == "nested":
            self.observation_space = Tuple((Dict({"eye": self.picture}), Discrete(3)))
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return self.observation_space.sample(), 0.0, False, self.time == 4, {}


gymnasium.register(id="test/Film-v0", entry_point=Film)


def film(options: dict[str, Any] | None = None, environment: str = "test/Film-v0", **settings: Any) -> Experiment:
    return dataclasses.replace(small(environment), environment_options=options or {}, **settings)


def seen(experiment: Experiment, steps: int = 12) -> list[Any]:
    """The observations of one environment, the first of each episode included."""
    environments = make_environments(experiment, 1)
    observations = [np.array(environments.reset(seed=3)[0])]
    for _ in range(steps):
        observations.append(np.array(environments.step(np.zeros(1, np.int64))[0]))
    environments.close()
    return observations


def test_grey_is_gymnasiums_grey() -> None:
    truth = GrayscaleObservation(Film(), keep_dim=True)
    wanted = [truth.reset(seed=3)[0], *(truth.step(np.int64(0))[0] for _ in range(3))]
    for (grey,), expected in zip(seen(film(grayscale=True)), wanted, strict=False):
        assert grey.dtype == np.uint8
        assert grey.shape == (12, 16, 1)
        assert abs(grey.astype(int) - expected).max() <= 1  # Gymnasium cuts off what is here rounded


@pytest.mark.parametrize("shape", [(12, 16, 3), (12, 16, 1), (12, 16, 4), (3, 12, 16)])
def test_smaller_images_are_means_of_blocks(shape: tuple[int, ...]) -> None:
    for (small_image,), (image,) in zip(
        seen(film({"shape": shape}, resize=4)), seen(film({"shape": shape})), strict=True
    ):
        last = np.moveaxis(image, 0, -1) if shape[0] == 3 else image
        blocks = last.reshape(4, 3, 4, 4, -1).mean((1, 3))
        assert small_image.shape == (4, 4, last.shape[-1])
        assert abs(small_image - blocks).max() <= 1
    assert seen(film(resize=(5, 7)))[0].shape == (1, 5, 7, 3)


@pytest.mark.parametrize(("grey", "channels"), [(True, 1), (False, 3)])
def test_stacks_can_be_rebuilt_from_single_frames(grey: bool, channels: int) -> None:
    experiment = film(grayscale=grey, frame_stack=3)
    info, environments = describe(experiment), make_environments(experiment, 2)
    assert info.frame_stack == 3
    assert info.observation_space == Box(0, 255, (12, 16, 3 * channels), np.uint8)
    gatherer = Collector(environments, (), RolloutRules(20, 0.9), seed=0)
    rollout = gatherer.collect(lambda o, s, first: Decision(torch.zeros(1, 2, dtype=torch.int64), s))
    assert int(rollout.first.sum()) >= 6
    for column in range(2):
        rebuilt = torch.zeros_like(rollout.observations[0, column])
        for t in range(21):
            if rollout.first[t, column]:
                rebuilt = torch.zeros_like(rebuilt)
            stack = rollout.observations[t, column]
            rebuilt = torch.cat([rebuilt[..., channels:], stack[..., -channels:]], -1)
            assert torch.equal(rebuilt, stack), t
    again = environments.reset(seed=1)[0]
    assert not again[..., :-channels].any()
    environments.close()


def test_only_images_of_a_dictionary_are_changed() -> None:
    settings: dict[str, Any] = {"grayscale": True, "resize": (6, 8), "frame_stack": 2}
    info = describe(film({"kind": "dict"}, **settings))
    assert info.given_space == info.observation_space
    assert info.observation_space == Dict(screen=Box(0, 255, (6, 8, 2), np.uint8), ammunition=Box(0, 9, (1,)))
    nested = describe(film({"kind": "nested"}, **settings))
    assert nested.given_space == Tuple((Dict(eye=Box(0, 255, (6, 8, 2), np.uint8)), Discrete(3)))
    assert isinstance(nested.observation_space, Dict)
    assert set(nested.observation_space.spaces) == {"0/eye", "1"}


@pytest.mark.parametrize(
    ("environment", "options", "settings", "message"),
    [
        ("CartPole-v1", {}, {"resize": 84}, "change images of bytes .uint8., and CartPole-v1 observes none"),
        ("MinAtar/Breakout-v1", {}, {"frame_stack": 2}, "and MinAtar/Breakout-v1 observes others: leave them out"),
        ("test/Film-v0", {"shape": (12, 16, 4)}, {"grayscale": True}, "needs images with red, green and blue"),
        ("test/Film-v0", {}, {"resize": (5, 7), "frame_stack": 4}, "more channels than pixels .*: give a larger --res"),
        ("ALE/Pong-v5", {"stack_num": 2}, {"frame_stack": 3}, "--frame-stack and --env-option stack_num=2 contradict"),
        ("ALE/Pong-v5", {"grayscale": False}, {"grayscale": True}, "--grayscale and .* contradict each other"),
        ("ALE/Pong-v5", {}, {"wrappers": ("a:b",)}, "ALE/Pong-v5 takes no --wrapper"),
    ],
)
def test_what_cannot_be_done_is_refused(
    environment: str, options: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        describe(film(options, environment, **settings))


@pytest.mark.parametrize("setting", [{"resize": 0}, {"resize": (84, -1)}, {"frame_stack": 0}])
def test_sizes_are_positive(setting: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"--(resize|frame-stack) (takes|must be)"):
        film(**setting)


def test_atari_does_the_same_natively() -> None:
    info = describe(film(environment="ALE/Pong-v5", resize=(42, 50), frame_stack=2, grayscale=True))
    assert info.frame_stack == 2
    assert info.observation_space.shape == (2, 42, 50)
    assert describe(film(environment="ALE/Pong-v5", resize=42)).observation_space.shape == (42, 42, 4)


def test_car_racing_gets_the_network_of_atari() -> None:
    experiment = film({"continuous": False}, "CarRacing-v3", grayscale=True, resize=84, frame_stack=4)
    info = describe(experiment)
    assert info.observation_space == Box(0, 255, (84, 84, 4), np.uint8)
    atari = describe(small("ALE/Pong-v5")).observation_space
    torso, same = (make_torso(space, NetworkSettings()) for space in (info.observation_space, atari))
    assert isinstance(torso, ImageTorso)
    assert str(torso) == str(same)
