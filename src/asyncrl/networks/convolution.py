"""Convolutions, one fully-connected layer, all ReLU, on images: by torch, or by compiled kernels.

With compiled kernels what the layers give, the activations, and the gradient through them are computed apart: those
that an agent computed when it acted need not be computed again when it learns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from asyncrl import kernels

if TYPE_CHECKING:
    from asyncrl.kernels.background import Background, WithBackground
    from asyncrl.kernels.convolution import Convolution

FEWEST = 4
"""Fewest images for which a search for a common background is worth its time."""

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


@dataclass(frozen=True)
class _Common:
    """What images have in common."""

    kernels: Sequence[WithBackground]  # of each convolution
    layers: list[Tensor]  # the background, and what each convolution gives for it, each [1, H, W, C]
    flags: list[Tensor]  # of each convolution, 1 where a window shows something else [N, rows, columns]

    def of_first(self, count: int) -> _Common:
        """The same for the first images alone."""
        return dataclasses.replace(self, flags=[flags[:count] for flags in self.flags])


class CompiledLayers:
    """The same layers by compiled kernels.

    Args:
        convolutions: The convolutional layers.
        dense: The layer after them.
        scale: Of the images.
        kernels: Of each convolution.
        background: Finds what images have in common, which is then computed only once; None where it cannot.
    """

    def __init__(
        self,
        convolutions: Sequence[nn.Conv2d],
        dense: nn.Linear,
        scale: float,
        kernels: Sequence[Convolution],
        background: Background | None,
    ) -> None:
        self.convolutions, self.dense, self.scale, self.kernels = convolutions, dense, scale, kernels
        self.background = background

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias of each layer."""
        return [parameter for layer in (*self.convolutions, self.dense) for parameter in layer.parameters()]

    def activations(self, images: Tensor) -> Layers:
        """Of images [N, H, W, C]; the last are the features [N, F]."""
        return self._computed(images)[0]

    def _computed(self, images: Tensor) -> tuple[Layers, _Common | None]:
        """The activations of images [N, H, W, C], and what the images have in common."""
        with torch.no_grad():
            weights, outputs = self._weights(), [images]
            common = self._common(images, weights)
            for number, (kernel, (weight, bias)) in enumerate(zip(self.kernels, weights, strict=True)):
                if common is None:
                    outputs.append(kernel.forward(outputs[-1], weight, bias))
                else:
                    flags, background = common.flags[number], common.layers[number + 1]
                    outputs.append(common.kernels[number].forward(outputs[-1], flags, background, weight, bias))
            outputs.append(torch.relu_(self.dense(outputs[-1].flatten(1))))
        return tuple(outputs[1:]), common

    def _weights(self) -> list[tuple[Tensor, Tensor]]:
        """Weight, as kernels take it, and bias of each convolution."""
        weights: list[tuple[Tensor, Tensor]] = []
        for layer in self.convolutions:
            assert layer.bias is not None
            weights.append((_matrix(layer.weight if weights else layer.weight * self.scale), layer.bias))
        return weights

    def _common(self, images: Tensor, weights: Sequence[tuple[Tensor, Tensor]]) -> _Common | None:
        """What images have in common, or None where a search is not worth its time."""
        if self.background is None or len(images) < FEWEST:
            return None
        layers = [self.background.of(images).unsqueeze(0)]
        for kernel, (weight, bias) in zip(self.kernels, weights, strict=True):
            layers.append(kernel.forward(layers[-1], weight, bias))
        return _Common(self.background.kernels, layers, self.background.differences(images, layers[0]))

    def features(self, images: Tensor, known: Sequence[Layers] = ()) -> Tensor:
        """Features [N, F] with the gradient by the parameters.

        Args:
            images: [N, H, W, C].
            known: Layers of the first images with the present parameters, in parts.
        """
        seen = sum(len(part[0]) for part in known)
        computed, common = self._computed(images[seen:]) if seen < len(images) else ((), None)
        parts = [*known, computed] if computed else known
        layers = [torch.cat(layer) if len(parts) > 1 else layer[0] for layer in zip(*parts, strict=True)]
        features: Tensor = _Features.apply(  # type: ignore[no-untyped-call]
            self, images, layers, None if known else common, *self.parameters
        )
        return features

    def gradients(
        self, images: Tensor, layers: Sequence[Tensor], gradient: Tensor, common: _Common | None = None
    ) -> list[Tensor]:
        """By the parameters, in their order, from the gradient by the features [N, F].

        The parameters must still be those of the activations. What the images have in common is found again where it is
        not given.
        """
        dependent = gradient.any(1).nonzero()
        count = int(dependent[-1]) + 1 if len(dependent) else 0  # the last ones' features are often not learned from
        images, *layers = (tensor[:count] for tensor in (images, *layers))
        gradient = _before_relu(gradient[:count], layers[-1])
        gradients = [gradient.t() @ layers[-2].flatten(1), gradient.sum(0)]
        gradient = (gradient @ self.dense.weight).view(layers[-2].shape)
        common = self._common(images, self._weights()) if common is None else common.of_first(count)
        for number in reversed(range(len(self.kernels))):
            layer, kernel = self.convolutions[number], self.kernels[number]
            gradient = _before_relu(gradient, layers[number])
            inputs = images if number == 0 else layers[number - 1]
            if common is None:
                matrix = kernel.weight_gradient(inputs, gradient)
            else:
                flags, background = common.flags[number], common.layers[number]
                matrix = common.kernels[number].weight_gradient(inputs, flags, background, gradient)
            by_weight = _weight(matrix, layer.kernel_size)
            gradients = [by_weight if number else by_weight * self.scale, gradient.sum((0, 1, 2)), *gradients]
            if number:
                gradient = kernel.image_gradient_of_few(gradient, layer.weight)
        return gradients


def compiled_layers(
    shape: tuple[int, int, int], bytes_: bool, convolutions: Sequence[nn.Conv2d], dense: nn.Linear, scale: float
) -> CompiledLayers | None:
    """Compiled kernels for layers on images of a shape [H, W, C], or None if there are none for them."""
    if not kernels.available():
        return None
    from asyncrl.kernels.background import background_for
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
    return CompiledLayers(convolutions, dense, scale, made, background_for(tuple(made)))


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
        ctx: Any,
        compiled: CompiledLayers,
        images: Tensor,
        layers: Sequence[Tensor],
        common: _Common | None,
        *_parameters: Tensor,
    ) -> Tensor:
        ctx.compiled, ctx.common = compiled, common
        ctx.save_for_backward(images, *layers)
        return layers[-1].clone()  # what is kept for other rollouts gets no gradient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        images, *layers = ctx.saved_tensors
        return None, None, None, None, *ctx.compiled.gradients(images, layers, gradient, ctx.common)


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
