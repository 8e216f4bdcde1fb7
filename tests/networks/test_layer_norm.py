"""Layer normalisation in torsos: before each activation function, by the formula, and only where it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from torch import Tensor

from asyncrl import kernels
from asyncrl.networks.torso import ImageTorso, make_torso
from asyncrl.runtime.networks import make_network
from asyncrl.settings import NetworkSettings
from asyncrl.types import EnvironmentInfo
from tests.experiments import small

VECTOR = Box(-1, 1, (5,), np.float32)
FRAMES = Box(0, 255, (84, 84, 4), np.uint8)


def torso(space: Any, **settings: Any) -> Any:
    torch.manual_seed(0)
    made = make_torso(space, NetworkSettings(hidden=(16, 8), **settings))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name or parameter.dim() == 1:  # scales and shifts that do something
                parameter.add_(torch.randn(parameter.shape) * 0.3)
    return made


def normalised(numbers: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The formula of Ba et al. (2016), over the last axis."""
    deviations = numbers - numbers.mean(-1, keepdim=True)
    return deviations / (deviations.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale + shift


@pytest.mark.parametrize(("activation", "function"), [("relu", torch.relu), ("tanh", torch.tanh)])
def test_each_layer_of_vectors_is_normalised_before_its_activation(activation: str, function: Any) -> None:
    made = torso(VECTOR, layer_norm=True, activation=activation)
    linear, norm, _, second, other, _ = made.layers
    vectors = torch.randn(7, 5)
    hidden = function(normalised(linear(vectors), norm.weight, norm.bias))
    torch.testing.assert_close(made(vectors), function(normalised(second(hidden), other.weight, other.bias)))


@pytest.mark.parametrize(("name", "space"), [("atari-2015", FRAMES), ("minatar", Box(0, 1, (10, 10, 4), bool))])
def test_convolutions_are_normalised_over_the_channels_of_each_place(name: str, space: Box) -> None:
    made = torso(space, layer_norm=True, torso=name)
    images = torch.from_numpy(np.stack([space.sample() for _ in range(3)]))
    features = images.permute(0, 3, 1, 2).float() / (255 if space.dtype == np.uint8 else 1)
    for layer, norm in zip(made.convolutions, made.norms, strict=False):
        features = normalised(layer(features).permute(0, 2, 3, 1), norm.weight, norm.bias).relu().permute(0, 3, 1, 2)
    dense = made.dense(features.permute(0, 2, 3, 1).flatten(1))
    expected = normalised(dense, made.norms[-1].weight, made.norms[-1].bias).relu()
    truth = torch.autograd.grad(expected.square().sum(), list(made.parameters()))
    assert len(made.kernels) == (len(made.convolutions) if kernels.available() else 0)
    for compiled in (made.kernels, ()):
        made.kernels = compiled
        torch.testing.assert_close(made(images), expected, rtol=1e-4, atol=1e-5)
        gradients = torch.autograd.grad(made(images).square().sum(), list(made.parameters()))
        for found, true in zip(gradients, truth, strict=True):
            torch.testing.assert_close(found, true, rtol=1e-3, atol=1e-4 * float(true.abs().max()))


def test_what_combines_the_keys_of_a_dictionary_is_normalised_too() -> None:
    space = Dict({"arm": VECTOR, "board": Box(0, 1, (10, 10, 4), np.float32)})
    made = torso(space, layer_norm=True)
    observations = {"arm": torch.randn(3, 5), "board": torch.rand(3, 10, 10, 4)}
    features = torch.cat([part(observations[key]) for key, part in made.torsos_by_key()], -1)
    expected = normalised(made.combining(features), made.norm.weight, made.norm.bias).relu()
    torch.testing.assert_close(made(observations), expected)


def test_gradients_by_the_image_are_torchs() -> None:
    made = torso(FRAMES, layer_norm=True)
    images = torch.rand(2, 84, 84, 4) * 255
    (by_images,) = torch.autograd.grad(made(images.requires_grad_()).square().sum(), images)
    assert by_images.shape == images.shape
    assert by_images.any()


def test_without_it_nothing_changes_and_the_kernels_stay() -> None:
    plain, asked = (torso(FRAMES, layer_norm=layer_norm) for layer_norm in (False, True))
    assert isinstance(plain, ImageTorso)
    assert (plain.compiled is not None) == kernels.available()
    assert len(plain.norms) == 0
    assert asked.compiled is None
    assert plain.kernels == ()
    assert [name for name, _ in plain.named_parameters()] == [
        name for name, _ in asked.named_parameters() if not name.startswith("norms")
    ]


@pytest.mark.parametrize("algorithm", ["a3c", "dqn"])
@pytest.mark.parametrize("space", [VECTOR, Box(0, 1, (10, 10, 4), bool)])
def test_every_algorithm_can_use_it_and_orthogonal_weights_leave_it_alone(algorithm: str, space: Box) -> None:
    experiment = small(algorithm=algorithm, layer_norm=True, memory="gru", initialization="orthogonal")
    network = make_network(experiment, EnvironmentInfo("x", space, Discrete(3), 1))
    norms = [module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == (1 if space is VECTOR else 2)
    assert all((norm.weight == 1).all() and not norm.bias.any() for norm in norms)
