"""Convolutions, one fully-connected layer, all ReLU, on images: by torch, or by compiled kernels.

With compiled kernels what the layers give, the activations, and the gradient through them are computed apart: those
that an agent computed when it acted need not be computed again when it learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from asyncrl import kernels

if TYPE_CHECKING:
    from asyncrl.kernels.convolution import Convolution

Layers = tuple[Tensor, ...]
"""What each layer gives for N images [N, ...], not differentiable; empty where it is not kept."""


def convolve(images: Tensor, weight: Tensor, bias: Tensor, stride: int, kernel: Convolution | None = None) -> Tensor:
    """A convolution without padding.

    Args:
        images: [N, H, W, C].
        weight: [O, C, kernel, kernel].
        bias: [O].
        stride: Of both axes.
        kernel: Compiled kernels that compute it in place of torch.

    Returns:
        [N, rows, columns, O].
    """
    if kernel is not None:
        outputs: Tensor = _Convolve.apply(kernel, images, weight, bias)  # type: ignore[no-untyped-call]
        return outputs
    floats = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
    return functional.conv2d(floats, weight, bias, stride).permute(0, 2, 3, 1)


class CompiledLayers:
    """The same layers by compiled kernels.

    Args:
        convolutions: The convolutional layers.
        dense: The layer after them.
        scale: Of the images.
        kernels: Of each convolution.
    """

    def __init__(
        self, convolutions: Sequence[nn.Conv2d], dense: nn.Linear, scale: float, kernels: Sequence[Convolution]
    ) -> None:
        self.convolutions, self.dense, self.scale, self.kernels = convolutions, dense, scale, kernels

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias of each layer."""
        return [parameter for layer in (*self.convolutions, self.dense) for parameter in layer.parameters()]

    def activations(self, images: Tensor) -> Layers:
        """Of images [N, H, W, C]; the last are the features [N, F]."""
        outputs: list[Tensor] = [images]
        with torch.no_grad():
            for layer, kernel in zip(self.convolutions, self.kernels, strict=True):
                weight = layer.weight * self.scale if len(outputs) == 1 else layer.weight
                assert layer.bias is not None
                outputs.append(kernel.forward(outputs[-1], _matrix(weight), layer.bias))
            outputs.append(torch.relu_(self.dense(outputs[-1].flatten(1))))
        return tuple(outputs[1:])

    def features(self, images: Tensor, known: Sequence[Layers] = ()) -> Tensor:
        """Features [N, F] with the gradient by the parameters.

        Args:
            images: [N, H, W, C].
            known: Layers of the first images with the present parameters, in parts.
        """
        seen = sum(len(part[0]) for part in known)
        parts = [*known, self.activations(images[seen:])] if seen < len(images) else known
        layers = [torch.cat(layer) if len(parts) > 1 else layer[0] for layer in zip(*parts, strict=True)]
        features: Tensor = _Features.apply(self, images, layers, *self.parameters)  # type: ignore[no-untyped-call]
        return features

    def gradients(self, images: Tensor, layers: Sequence[Tensor], gradient: Tensor) -> list[Tensor]:
        """By the parameters, in their order, from the gradient by the features [N, F].

        The parameters must still be those of the activations.
        """
        dependent = gradient.any(1).nonzero()
        count = int(dependent[-1]) + 1 if len(dependent) else 0  # the last ones' features are often not learned from
        images, *layers = (tensor[:count] for tensor in (images, *layers))
        gradient = _before_relu(gradient[:count], layers[-1])
        gradients = [gradient.t() @ layers[-2].flatten(1), gradient.sum(0)]
        gradient = (gradient @ self.dense.weight).view(layers[-2].shape)
        for number in reversed(range(len(self.kernels))):
            layer, kernel = self.convolutions[number], self.kernels[number]
            gradient = _before_relu(gradient, layers[number])
            matrix = kernel.weight_gradient(images if number == 0 else layers[number - 1], gradient)
            by_weight = _weight(matrix, layer.kernel_size)
            gradients = [by_weight if number else by_weight * self.scale, gradient.sum((0, 1, 2)), *gradients]
            if number:
                gradient = kernel.image_gradient(gradient, layer.weight)
        return gradients


def compiled_layers(
    shape: tuple[int, int, int], bytes_: bool, convolutions: Sequence[nn.Conv2d], dense: nn.Linear, scale: float
) -> CompiledLayers | None:
    """Compiled kernels for layers on images of a shape [H, W, C], or None if there are none for them."""
    if not kernels.available():
        return None
    from asyncrl.kernels.convolution import Convolution, kernels_for
    from asyncrl.kernels.convolution_code import Shape

    height, width, channels = shape
    made: list[Convolution] = []
    for layer in convolutions:
        size = Shape(height, width, channels, layer.kernel_size[0], layer.stride[0], layer.out_channels)
        if not Convolution.fits(size):
            return None
        made.append(kernels_for(size, bytes_ and not made))
        height, width, channels = size.rows, size.columns, size.outputs
    if not all(each.has_image_gradient for each in made[1:]):
        return None
    return CompiledLayers(convolutions, dense, scale, made)


def _matrix(weight: Tensor) -> Tensor:
    """Weights [O, C, rows, columns] as kernels take them [rows · columns · C, O]: laid out as images are."""
    return weight.permute(2, 3, 1, 0).reshape(-1, len(weight)).contiguous()


def _weight(matrix: Tensor, size: Sequence[int]) -> Tensor:
    """The inverse of `_matrix` for a kernel of size (rows, columns)."""
    return matrix.view(*size, -1, matrix.shape[-1]).permute(3, 2, 0, 1)


def _before_relu(gradient: Tensor, outputs: Tensor) -> Tensor:
    masked: Tensor = torch.ops.aten.threshold_backward(gradient, outputs, 0.0)
    return masked


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, compiled: CompiledLayers, images: Tensor, layers: Sequence[Tensor], *_parameters: Tensor
    ) -> Tensor:
        ctx.compiled = compiled
        ctx.save_for_backward(images, *layers)
        return layers[-1].clone()  # what is kept for other rollouts gets no gradient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        images, *layers = ctx.saved_tensors
        return None, None, None, *ctx.compiled.gradients(images, layers, gradient)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Convolution, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(images, weight)
        return kernel.forward(images, _matrix(weight), bias, relu=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (images, weight), gradient = ctx.saved_tensors, gradient.contiguous()
        by_weight = _weight(ctx.kernel.weight_gradient(images, gradient), weight.shape[2:])
        by_images = ctx.kernel.image_gradient(gradient, weight) if ctx.needs_input_grad[1] else None
        return None, by_images, by_weight, gradient.sum((0, 1, 2))
