"""Our own kernels against torch."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

pytest.importorskip("llvmlite")

from asyncrl import kernels
from asyncrl.envs.make import describe
from asyncrl.kernels import llvm
from asyncrl.kernels.convolution import Convolution
from asyncrl.kernels.convolution_code import Shape
from asyncrl.networks.assemble import Network
from asyncrl.networks.convolution import CompiledLayers, Layers, compiled_layers
from asyncrl.networks.torso import ImageTorso, make_torso
from asyncrl.optim.hogwild import OPTIMIZERS, gradients, make_optimizer
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.worker import Worker, WorkerSetup
from asyncrl.settings import NetworkSettings, OptimizerSettings
from asyncrl.types import Rollout
from tests.experiments import small

LAYERS = {  # (height, width, channels), kernel, stride, outputs, dtype
    "2013, first": ((84, 84, 4), 8, 4, 16, torch.uint8),
    "2013, second": ((20, 20, 16), 4, 2, 32, torch.float32),
    "2015, second": ((20, 20, 32), 4, 2, 64, torch.float32),
    "2015, third": ((9, 9, 64), 3, 1, 64, torch.float32),
    "minatar": ((10, 10, 7), 3, 1, 16, torch.float32),
    "borders left over": ((21, 23, 16), 4, 2, 16, torch.float32),
    "bytes that fill no vector": ((9, 11, 3), 3, 1, 16, torch.uint8),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("images", [5, 0])
def test_outputs_and_gradients_are_those_of_torch_in_double_precision(name: str, images: int) -> None:
    (height, width, channels), kernel, stride, outputs, dtype = LAYERS[name]
    random = torch.Generator().manual_seed(0)
    bytes_ = dtype == torch.uint8
    own = Convolution(Shape(height, width, channels, kernel, stride, outputs), bytes_)
    inputs = torch.randint(0, 256, (images, height, width, channels), generator=random, dtype=torch.uint8)
    inputs = inputs if bytes_ else inputs / 255 - 0.5
    weight = torch.randn(outputs, channels, kernel, kernel, generator=random) / (100 if bytes_ else 10)
    bias = torch.randn(outputs, generator=random)
    pull = torch.randn(images, own.shape.rows, own.shape.columns, outputs, generator=random)

    pull[:, 0] = pull[1:, :, :, ::2] = 0
    leaves = [tensor.double().requires_grad_() for tensor in (inputs, weight, bias)]
    before = torch.nn.functional.conv2d(leaves[0].permute(0, 3, 1, 2), *leaves[1:], stride).permute(0, 2, 3, 1)
    by_images, by_weight, _ = torch.autograd.grad((before * pull).sum(), leaves)

    def equal(found: Tensor, truth: Tensor) -> None:
        scale = max((float(number) for number in truth.detach().abs().flatten()), default=1.0)
        torch.testing.assert_close(found.double(), truth, rtol=1e-4, atol=1e-5 * scale)

    def matrix(weight: Tensor) -> Tensor:
        return weight.permute(2, 3, 1, 0).reshape(-1, outputs).contiguous()

    equal(own.forward(inputs, matrix(weight), bias), torch.relu(before).detach())
    equal(own.weight_gradient(inputs, pull), matrix(by_weight))
    if own.has_image_gradient:
        equal(own.image_gradient(pull, weight), by_images)
        equal(own.image_gradient_of_few(pull, weight), by_images)


@pytest.mark.parametrize(
    ("torso", "shape"), [("atari-2013", (84, 84, 4)), ("atari-2015", (4, 84, 84)), ("minatar", (10, 10, 6))]
)
def test_a_torso_of_own_kernels_is_one_of_torch(torso: str, shape: tuple[int, int, int]) -> None:
    space = Box(0, 255, shape, np.uint8)
    made = cast("ImageTorso", make_torso(space, NetworkSettings(torso=torso)))
    assert made.compiled is not None
    images = torch.randint(0, 256, (6, *shape), dtype=torch.uint8)
    pull = torch.randn(6, made.output_size)
    pull[4:] = 0  # the last ones are not learned from

    def results(known: Sequence[Layers] = ()) -> list[Tensor]:
        features = made(images, known)
        return [features.detach(), *torch.autograd.grad((features * pull).sum(), list(made.parameters()))]

    own = results()
    for part in ([2], [2, 3], [6]):  # known from before: the first images, in parts
        known = [made.activations(piece) for piece in images.split([*part, 6 - sum(part)])][: len(part)]
        for found, truth in zip(results(known), own, strict=True):
            torch.testing.assert_close(found, truth)
    made.compiled = None
    for found, truth in zip(own, results(), strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5 * float(truth.abs().max()))


def test_nan_stays_nan() -> None:
    made = cast("ImageTorso", make_torso(Box(0, 255, (10, 10, 4), np.uint8), NetworkSettings(torso="minatar")))
    with torch.no_grad():
        assert made.convolutions[0].bias is not None
        made.convolutions[0].bias[3] = torch.nan
    assert made(torch.zeros(2, 10, 10, 4, dtype=torch.uint8)).isnan().all()


def test_a_network_that_has_computed_can_be_copied() -> None:
    made = cast("ImageTorso", make_torso(Box(0, 255, (10, 10, 4), np.uint8), NetworkSettings(torso="minatar")))
    images = torch.randint(0, 256, (3, 10, 10, 4), dtype=torch.uint8)
    before = made(images)
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        torch.testing.assert_close(copied(images), before)
        with torch.no_grad():
            copied.dense.bias += 1.0
        assert not torch.equal(copied(images), before)
    torch.testing.assert_close(made(images), before)


def test_tensors_of_another_type_are_refused() -> None:
    own = Convolution(Shape(9, 11, 4, 3, 1, 16), True)
    with pytest.raises(TypeError, match="uint8"):
        own.forward(torch.zeros(1, 9, 11, 4), torch.zeros(36, 16), torch.zeros(16))
    with pytest.raises(TypeError, match="contiguous"):
        own.forward(torch.zeros(1, 9, 11, 4, dtype=torch.uint8), torch.zeros(16, 36).t(), torch.zeros(16))


def test_a_compiler_that_does_not_work_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no memory for code")

    monkeypatch.setattr(llvm, "check", fail)
    kernels.problem.cache_clear()
    try:
        with pytest.warns(UserWarning, match="no memory for code"):
            assert not kernels.available()
        assert not kernels.available()  # and once only
    finally:
        kernels.problem.cache_clear()


def test_layers_that_do_not_fit_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(channels: int, *layers: tuple[int, int, int]) -> CompiledLayers | None:
        made = [torch.nn.Conv2d(*layer) for layer in _chained(channels, layers)]
        return compiled_layers((24, 24, channels), True, made, torch.nn.Linear(1, 1), 1.0)

    assert own(3, (16, 3, 1), (32, 4, 2)) is not None
    assert own(3, (20, 3, 1)) is None  # outputs fill no vectors
    assert own(3, (16, 3, 2)) is None  # the stride does not divide the kernel
    monkeypatch.setattr(kernels, "available", lambda: False)
    assert own(3, (16, 3, 1)) is None


def _chained(channels: int, layers: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    for outputs, kernel, stride in layers:
        yield channels, outputs, kernel, stride
        channels = outputs


@pytest.mark.parametrize(
    ("algorithm", "expected", "settings"),
    [
        ("a3c", 3, {}),
        ("a3c", 3, {"environment": "tests.environments:test/Sides-v0", "memory": "lstm"}),  # a picture beside a vector
        ("a3c", 3, {"memory": "lstm", "separate": True}),
        ("a3c", 3, {"memory": "gru", "envs_per_worker": 1, "episode_rollouts": True}),
        ("nstep-q", 3, {"double": True}),
        ("onestep-q", 3, {"dueling": True, "memory": "lstm"}),
        ("sarsa", 0, {}),  # looks ahead
    ],
)
def test_a_worker_learns_from_what_it_computed_when_it_acted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, algorithm: str, expected: int, settings: dict[str, Any]
) -> None:
    """Updates with and without what acting computed are the same; with a look-ahead the first action is a stale one."""
    unroll, used = Network.unroll, 0

    def count(network: Network, rollout: Rollout, final: bool = True) -> Any:
        nonlocal used
        version = network.version
        used = len(list(itertools.takewhile(lambda step: step.version == version, rollout.activations)))
        return unroll(network, rollout, final)

    def forget(network: Network, rollout: Rollout, final: bool = True) -> Any:
        return unroll(network, dataclasses.replace(rollout, activations=()), final)

    def after_updates(way: Any) -> Tensor:
        monkeypatch.setattr(Network, "unroll", way)
        chosen = {"environment": "MinAtar/Breakout-v1", "rollout_length": 3, "steps": 36, **settings}
        experiment = small(algorithm=algorithm, **chosen)
        supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
        list(Worker(WorkerSetup(0, experiment, supervisor.info, supervisor.shared, tmp_path)).work())
        assert supervisor.shared.counter.updates >= 3
        return supervisor.shared.parameters.tensor

    parameters = after_updates(count)
    assert used == expected
    torch.testing.assert_close(parameters, after_updates(forget))


def test_stale_activations_make_no_wrong_gradient(tmp_path: Path) -> None:
    """Once θ' has changed, what acting computed is left unused: the gradient equals that of a rollout without it."""
    experiment = small("MinAtar/Breakout-v1", "a3c", rollout_length=3)
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    worker = Worker(WorkerSetup(0, experiment, supervisor.info, supervisor.shared, tmp_path))
    online, random = worker.networks.online, torch.Generator().manual_seed(0)
    worker.store.pull(worker.networks)
    rollout = worker.collector.collect(worker.policy)
    assert len(rollout.activations) == 3
    supervisor.shared.parameters.tensor.mul_(
        1 + 0.1 * torch.randn(supervisor.shared.parameters.tensor.shape, generator=random)
    )
    for change in ("pull", "in place"):
        if change == "pull":
            worker.store.pull(worker.networks)
        else:
            next(online.parameters()).detach().mul_(1.5)
        found, truth = (
            gradients(worker.algorithm.loss(worker.networks, data).total, online) for data in (rollout, rollout.kept())
        )
        assert truth.any()
        torch.testing.assert_close(found, truth)


@pytest.mark.parametrize("optimizer", ["shared-rmsprop", "centred-rmsprop", "momentum-sgd", "shared-adam"])
@pytest.mark.parametrize("size", [5, 16, 1003])
def test_updates_are_those_of_torch(optimizer: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = torch.randn(4, size, generator=torch.Generator().manual_seed(0))
    gradients[:, ::7] = 0.0

    def trained() -> list[Tensor]:
        settings = OptimizerSettings(optimizer=optimizer)  # type: ignore[arg-type]
        names = OPTIMIZERS[optimizer].statistics
        suffix = "/0" if optimizer == "momentum-sgd" else ""
        vectors = {name + suffix: torch.zeros(size) for name in names}
        parameters, updates = torch.ones(size), iter(range(9))
        made = make_optimizer(settings, parameters, vectors, 0, updates=lambda: next(updates))
        for gradient in gradients:
            made.apply(gradient, 0.01)
        return [parameters, *vectors.values()]

    own = trained()
    monkeypatch.setattr(kernels, "available", lambda: False)
    for found, truth in zip(own, trained(), strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-7)
    assert (own[0] != 1).sum() > size // 2
