"""Our own kernels against torch."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("llvmlite")

from asyncrl import kernels
from asyncrl.config import OptimizerSettings
from asyncrl.kernels.convolution import Convolution, Shape
from asyncrl.networks.convolution import convolve_relu, convolve_relu_by_torch
from asyncrl.optim.hogwild import STATISTICS, make_optimizer

LAYERS = {  # (height, width, channels), kernel, stride, outputs, dtype
    "2013, first": ((84, 84, 4), 8, 4, 16, torch.uint8),
    "2013, second": ((20, 20, 16), 4, 2, 32, torch.float32),
    "2015, second": ((20, 20, 32), 4, 2, 64, torch.float32),
    "2015, third": ((9, 9, 64), 3, 1, 64, torch.float32),
    "minatar": ((10, 10, 7), 3, 1, 16, torch.float32),
    "borders left over": ((21, 23, 16), 4, 2, 16, torch.float32),
    "bytes that fill no vector": ((9, 11, 3), 3, 1, 16, torch.uint8),
}


def layer(name: str, images: int = 5) -> tuple[Tensor, Tensor, Tensor, int]:
    shape, kernel, stride, outputs, dtype = LAYERS[name]
    random = torch.Generator().manual_seed(0)
    if dtype == torch.uint8:
        inputs = torch.randint(0, 256, (images, *shape), generator=random, dtype=dtype)
    else:
        inputs = torch.randn(images, *shape, generator=random)
    weight = torch.randn(outputs, shape[2], kernel, kernel, generator=random) / (100 if dtype == torch.uint8 else 10)
    return inputs, weight, torch.randn(outputs, generator=random), stride


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_those_of_torch_in_double_precision(name: str) -> None:
    inputs, weight, bias, stride = layer(name)
    differentiable = inputs.dtype == torch.float32

    def results(convolve, *tensors):  # type: ignore[no-untyped-def]
        leaves = [t.clone().requires_grad_(t.is_floating_point()) for t in tensors]
        outputs = convolve(*leaves, stride)
        pull = torch.cos(torch.arange(outputs.numel(), dtype=outputs.dtype)).view(outputs.shape)
        wanted = leaves if differentiable else leaves[1:]
        return [outputs, *torch.autograd.grad((outputs * pull).sum(), wanted)]

    def in_double(images: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        rows = torch.nn.functional.conv2d(images.permute(0, 3, 1, 2).double(), weight, bias, stride)
        return torch.relu(rows).permute(0, 2, 3, 1)

    exact = results(in_double, inputs.double() if differentiable else inputs, weight.double(), bias.double())
    for convolve in (convolve_relu, convolve_relu_by_torch):
        for found, truth in zip(results(convolve, inputs, weight, bias), exact, strict=True):
            scale = float(truth.detach().abs().max())
            assert scale > 0
            torch.testing.assert_close(found.double(), truth.double(), rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("name", LAYERS)
def test_own_kernels_are_used_for_the_layers_we_know(name: str) -> None:
    inputs, weight, bias, stride = layer(name)
    outputs = convolve_relu(inputs, weight.requires_grad_(), bias, stride)
    assert outputs.grad_fn is not None
    assert "ConvolveRelu" in type(outputs.grad_fn).__name__


def test_layers_that_do_not_fit_are_left_to_torch() -> None:
    images, weight = torch.randn(2, 12, 12, 3, requires_grad=True), torch.randn(16, 3, 3, 3)
    assert not Convolution.fits(Shape(12, 12, 3, 3, 1, 20))
    assert not Convolution.fits(Shape(12, 12, 3, 3, 2, 16))
    assert "ConvolveRelu" not in type(convolve_relu(images, weight, torch.zeros(16), 1).grad_fn).__name__  # by image


def test_no_images_give_no_outputs() -> None:
    inputs, weight, bias, stride = layer("2013, first", images=0)
    assert convolve_relu(inputs, weight, bias, stride).shape == (0, 20, 20, 16)


@pytest.mark.parametrize("optimizer", ["shared-rmsprop", "momentum-sgd", "shared-adam"])
@pytest.mark.parametrize("size", [5, 16, 1003])
def test_updates_are_those_of_torch(optimizer: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = torch.randn(4, size, generator=torch.Generator().manual_seed(0))
    gradients[:, ::7] = 0.0

    def trained() -> list[Tensor]:
        settings = OptimizerSettings(optimizer=optimizer)  # type: ignore[arg-type]
        names = STATISTICS[optimizer]
        suffix = "/0" if optimizer == "momentum-sgd" else ""
        vectors = {name + suffix: torch.zeros(size) for name in names}
        parameters, updates = torch.ones(size), iter(range(9))
        made = make_optimizer(settings, parameters, vectors, 0, updates=lambda: next(updates))
        for gradient in gradients:
            made.apply(gradient, 0.01)
        return [parameters, *vectors.values()]

    own = trained()
    monkeypatch.setattr(kernels, "available", False)
    for found, truth in zip(own, trained(), strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-7)
    assert (own[0] != 1).sum() > size // 2
