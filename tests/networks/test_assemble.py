"""Networks: flat parameters, image layouts, memory through time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

from asyncrl.envs.actions import action_codec
from asyncrl.errors import UserError
from asyncrl.functional.moments import moments_of
from asyncrl.networks.action_values import ActionValueHead
from asyncrl.networks.assemble import Network, flatten_parameters
from asyncrl.networks.heads import Head, ValueHead, policy_head
from asyncrl.networks.images import channels_last, image_shape
from asyncrl.networks.normalization import Normalizer
from asyncrl.networks.torso import ImageTorso, VectorTorso, make_torso
from asyncrl.runtime.networks import make_network
from asyncrl.settings import NetworkSettings
from asyncrl.types import EnvironmentInfo
from tests.experiments import small

VECTOR = Box(-1, 1, (3,), np.float32)
FRAMES = Box(0, 255, (4, 84, 84), np.uint8)
MEMORIES = ("none", "lstm", "gru")


def network(space: Box = VECTOR, **settings: Any) -> Network:
    heads = {"policy": policy_head(Discrete(4)), "value": Head(ValueHead)}
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
    weight = network(Box(-1, 1, (400,), np.float32), initialization="torch").bodies[0].torso.layers[0].weight
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


def test_activation_of_vector_torsos() -> None:
    relu, tanh = (make_torso(VECTOR, NetworkSettings(hidden=(64,), activation=name)) for name in ("relu", "tanh"))  # type: ignore[arg-type]
    vectors = torch.randn(50, *(VECTOR.shape or ())) * 10
    assert float(relu(vectors).min()) == 0
    assert float(relu(vectors).max()) > 1
    assert -1 <= float(tanh(vectors).min()) < -0.5
    assert 0.5 < float(tanh(vectors).max()) <= 1


@pytest.mark.parametrize(
    "shape",
    [
        *[(84, 84, 3), (84, 84, 4), (96, 96, 3), (210, 160, 3), (120, 160, 3), (64, 64, 1)],
        *[(10, 10, 4), (10, 10, 6), (10, 10, 7), (10, 10, 10)],  # MinAtar; the last is Seaquest
        *[(7, 7, 3), (7, 7, 20), (84, 84, 128)],  # MiniGrid, and images with more channels than rows
        (10, 5, 10),  # a tie
    ],
)
def test_channels_are_last(shape: tuple[int, int, int]) -> None:
    space = Box(0, 255, shape, np.uint8)
    assert channels_last(space)
    assert image_shape(space) == shape


@pytest.mark.parametrize(
    "shape",
    [*[(1, 84, 84), (3, 84, 84), (4, 84, 84), (3, 210, 160), (2, 5, 7)], *[(20, 7, 7), (128, 84, 84)]],
)
def test_channels_are_first(shape: tuple[int, int, int]) -> None:
    space = Box(0, 255, shape, np.uint8)
    assert not channels_last(space)
    assert image_shape(space) == (*shape[1:], shape[0])


def test_images_of_another_shape_are_refused() -> None:
    net = network(FRAMES)
    first = torch.zeros(1, 2, dtype=torch.bool)
    small_images = torch.zeros(1, 2, 4, 40, 40, dtype=torch.uint8)
    for call in (lambda: net(small_images, (), first), lambda: net.act(small_images, (), first)):
        with pytest.raises(ValueError, match=r"shape \(4, 84, 84\), not \(4, 40, 40\)"):
            call()
    with pytest.raises(ValueError, match=r"shape \(4, 84, 84\), not \(84, 84, 4\)"):
        net(torch.zeros(1, 2, 84, 84, 4, dtype=torch.uint8), (), first)


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
    for space in (MultiBinary(3), Dict({"a": Discrete(2)}), Box(0, 255, (2,), np.uint8)):
        with pytest.raises(UserError, match="is not supported: use Discrete, MultiDiscrete"):
            action_codec(space)


def test_separate_networks_share_no_parameter_and_no_state() -> None:
    info = EnvironmentInfo("x", VECTOR, Box(-1, 1, (2,), np.float32), 1)
    net = make_network(small(memory="lstm", separate=True), info)
    assert len(net.initial_state(3)) == 4
    observations, first = torch.randn(4, 3, *VECTOR.shape), torch.zeros(4, 3, dtype=torch.bool)
    outputs, _ = net(observations, net.initial_state(3), first)
    policy = torch.autograd.grad(
        outputs["policy"].square().sum(), list(net.parameters()), allow_unused=True, materialize_grads=True
    )
    outputs, _ = net(observations, net.initial_state(3), first)
    value = torch.autograd.grad(
        outputs["value"].square().sum(), list(net.parameters()), allow_unused=True, materialize_grads=True
    )
    assert all(bool(p.any()) != bool(v.any()) for p, v in zip(policy, value, strict=True))
    # each state tensor belongs to one of the two
    changed = tuple(tensor + (1.0 if number < 2 else 0.0) for number, tensor in enumerate(net.initial_state(3)))
    other, _ = net(observations, changed, first)
    assert not torch.equal(other["policy"], outputs["policy"])
    assert torch.equal(other["value"], outputs["value"])


def test_dict_observations_have_a_torso_for_each_key() -> None:
    space = Dict({"camera": Box(0, 255, (36, 36, 3), np.uint8), "arm": Box(-1, 1, (5,), np.float32)})
    info = EnvironmentInfo("x", space, Discrete(3), 1)
    net = make_network(small(hidden=(16,), normalize_observations=True), info)
    arm, camera = net.bodies[0].torso.torsos
    assert isinstance(camera, ImageTorso)
    assert isinstance(arm, VectorTorso)
    observations = {
        "camera": torch.randint(0, 256, (2, 3, 36, 36, 3), dtype=torch.uint8),
        "arm": torch.randn(2, 3, 5),
    }
    outputs, _ = net(observations, (), torch.zeros(2, 3, dtype=torch.bool))
    assert outputs["policy"].shape == (2, 3, 3)
    assert net.normalizer is not None
    assert net.normalizer.size == 5  # images are left alone
    named = make_torso(space, NetworkSettings(torso="atari-2013", hidden=(16,)))
    assert named.output_size == 256  # as wide as the widest torso


def test_bytes_in_vectors_are_scaled() -> None:
    torch.manual_seed(0)
    of_bytes = make_torso(Box(0, 255, (128,), np.uint8), NetworkSettings(hidden=(8,)))
    torch.manual_seed(0)
    of_floats = make_torso(Box(0, 1, (128,), np.float32), NetworkSettings(hidden=(8,)))
    ram = torch.randint(0, 256, (4, 128), dtype=torch.uint8)
    torch.testing.assert_close(of_bytes(ram), of_floats(ram / 255))


def test_dueling_advantages_have_no_mean() -> None:
    head = ActionValueHead(6, 4, dueling=True)
    features = torch.randn(2, 3, 6)
    assert head.value is not None
    torch.testing.assert_close(head(features).mean(-1), head.value(features).squeeze(-1))


def test_normalizer_shifts_scales_and_clips() -> None:
    normalizer = Normalizer(VECTOR)
    vectors = torch.randn(500, *VECTOR.shape) * 3 + 7
    torch.testing.assert_close(normalizer(vectors), vectors.clamp(-10, 10))  # before anything was seen
    normalizer.set(moments_of(vectors))
    normal = normalizer(vectors)
    torch.testing.assert_close(normal.mean(0), torch.zeros(VECTOR.shape), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(0, correction=0), torch.ones(VECTOR.shape), atol=1e-3, rtol=0)
    assert float(normalizer(vectors + 1e6).max()) == 10.0


def test_nothing_to_normalise_is_no_normaliser() -> None:
    assert network(FRAMES, normalize_observations=True).normalizer is None
    board = network(Box(0, 1, (10, 5), np.float32), normalize_observations=True)
    assert board.normalizer is not None
    assert board.normalizer.size == 50
    ram = network(Box(0, 255, (128,), np.uint8), normalize_observations=True)
    assert ram.normalizer is not None
    ram.normalizer.set(moments_of(torch.full((2, 128), 7.0)))
    observations = torch.full((1, 1, 128), 9, dtype=torch.uint8)
    first = torch.ones(1, 1, dtype=torch.bool)
    seen = ram.normalizer(observations[0])
    assert float(seen.max()) == 10.0  # 2 above a mean with hardly a deviation
    expected = ram.heads["value"](torch.relu(ram.bodies[0].torso.layers[0](seen)))  # and not divided by 255 again
    torch.testing.assert_close(ram(observations, (), first)[0]["value"][0], expected)
