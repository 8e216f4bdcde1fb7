"""Networks: flat parameters, image layouts, memory through time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from asyncrl.config import NetworkSettings
from asyncrl.errors import UserError
from asyncrl.networks.assemble import Network, flatten_parameters, make_network
from asyncrl.networks.heads import ValueHead, policy_head
from asyncrl.networks.torso import make_torso
from asyncrl.types import EnvironmentInfo
from tests.experiments import small

VECTOR = Box(-1, 1, (3,), np.float32)
FRAMES = Box(0, 255, (4, 84, 84), np.uint8)
MEMORIES = ("none", "lstm", "gru")


def network(space: Box = VECTOR, **settings: Any) -> Network:
    heads = {"policy": policy_head(Discrete(4)), "value": ValueHead}
    torch.manual_seed(0)
    return Network(space, NetworkSettings(**{"hidden": (8,), "memory_size": 6, **settings}), heads)


@pytest.mark.parametrize("memory", MEMORIES)
def test_acting_step_by_step_equals_learning_on_the_rollout(memory: str) -> None:
    # the state carried while acting must be the one that learning sees: same outputs at every step, resets included
    net = network(memory=memory)
    observations = torch.randn(7, 3, 3)
    first = torch.zeros(7, 3, dtype=torch.bool)
    first[0], first[3, 1], first[5, 2] = True, True, True
    state = net.initial_state(3)
    acted = []
    for t in range(7):
        outputs, state = net(observations[t : t + 1], state, first[t : t + 1])
        acted.append(outputs["policy"])
    learned, last = net(observations, net.initial_state(3), first)
    torch.testing.assert_close(torch.cat(acted), learned["policy"])
    assert len(last) == len(state)
    for a, b in zip(last, state, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("memory", ["lstm", "gru"])
def test_an_episodes_first_step_forgets_the_last_episode(memory: str) -> None:
    net = network(memory=memory)
    first = torch.zeros(4, 1, dtype=torch.bool)
    first[2] = True
    one, two = torch.randn(4, 1, 3), torch.randn(4, 1, 3)
    two[2:] = one[2:]  # different pasts, same episode
    state = tuple(torch.randn(1, 6) for _ in net.initial_state(1))
    a, b = (net(x, state, first)[0]["value"] for x in (one, two))
    torch.testing.assert_close(a[2:], b[2:])
    assert not torch.allclose(a[1], b[1])


def test_parameters_become_views_of_one_vector() -> None:
    net = network(memory="lstm")
    before = [parameter.clone() for parameter in net.parameters()]
    flat = flatten_parameters(net)
    assert flat.numel() == sum(parameter.numel() for parameter in before)
    for parameter, old in zip(net.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    flat.zero_()
    assert all(not parameter.any() for parameter in net.parameters())


def test_the_same_seed_draws_the_same_parameters_and_leaves_the_global_state_alone() -> None:
    info = EnvironmentInfo("x", VECTOR, Discrete(2), 1)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (make_network(small(seed=3), info) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    other = make_network(small(seed=4), info)
    assert not torch.equal(next(iter(one.parameters())), next(iter(other.parameters())))


def test_torch_initialization_is_uniform_in_one_over_root_fan_in() -> None:
    weight = network(Box(-1, 1, (400,), np.float32), initialization="torch").torso.layers[0].weight
    assert float(weight.abs().max()) <= 400**-0.5
    assert float(weight.std()) == pytest.approx(400**-0.5 / 3**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("space", "features"),
    [(FRAMES, 256), (Box(0, 255, (96, 96, 3), np.uint8), 256), (Box(0, 1, (10, 10, 4), bool), 128), (VECTOR, 8)],
)
def test_auto_torso_by_shape(space: Box, features: int) -> None:
    torso = make_torso(space, NetworkSettings(hidden=(8,)))
    batch = torch.from_numpy(np.stack([space.sample() for _ in range(2)]))
    assert torso(batch).shape == (2, features)


def test_channel_order_and_scale() -> None:
    torch.manual_seed(0)
    channels_first = make_torso(FRAMES, NetworkSettings())
    torch.manual_seed(0)
    channels_last = make_torso(Box(0, 255, (84, 84, 4), np.uint8), NetworkSettings())
    torch.manual_seed(0)
    floats = make_torso(Box(0, 1, (4, 84, 84), np.float32), NetworkSettings())
    frames = torch.randint(0, 256, (3, 4, 84, 84), dtype=torch.uint8)
    kept = frames.clone()
    expected = channels_first(frames)
    torch.testing.assert_close(channels_last(frames.permute(0, 2, 3, 1)), expected)
    as_floats = frames / 255
    torch.testing.assert_close(floats(as_floats), expected)
    assert torch.equal(frames, kept)
    torch.testing.assert_close(as_floats, kept / 255)  # no input is changed in place


def test_wrong_torsos_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="unknown torso 'resnet': choose one of auto, mlp"):
        make_torso(VECTOR, NetworkSettings(torso="resnet"))
    with pytest.raises(UserError, match="needs images"):
        make_torso(VECTOR, NetworkSettings(torso="atari-2013"))
    with pytest.raises(UserError, match="too small"):
        make_torso(Box(0, 255, (3, 12, 12), np.uint8), NetworkSettings(torso="atari-2015"))
    with pytest.raises(UserError, match="no 'nothing'"):
        make_torso(VECTOR, NetworkSettings(torso="math:nothing"))


def test_unsupported_actions() -> None:
    for space in (Box(-1, 1, (2,), np.float32), MultiDiscrete([2, 3])):
        with pytest.raises(UserError, match="not supported"):
            policy_head(space)
