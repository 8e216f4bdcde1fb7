"""Convolution and ReLU on images with their channels innermost: by our own kernels, or by torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from asyncrl import kernels

if TYPE_CHECKING:
    from asyncrl.kernels.convolution import Convolution


def convolve_relu(images: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """ReLU of a convolution without padding.

    Args:
        images: [N, H, W, C], uint8 or float32.
        weight: [O, C, kernel, kernel].
        bias: [O].
        stride: Of both axes.

    Returns:
        [N, rows, columns, O].
    """
    own = _own_kernels(images, weight, stride) if kernels.available else None
    if own is None:
        return convolve_relu_by_torch(images, weight, bias, stride)
    outputs: Tensor = _ConvolveRelu.apply(images.contiguous(), weight, bias, own)  # type: ignore[no-untyped-call]
    return outputs


def convolve_relu_by_torch(images: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """What `convolve_relu` computes."""
    floats = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
    return torch.relu_(functional.conv2d(floats, weight, bias, stride)).permute(0, 2, 3, 1)


def _own_kernels(images: Tensor, weight: Tensor, stride: int) -> Convolution | None:
    from asyncrl.kernels.convolution import Convolution, Shape, convolution

    if images.dtype not in (torch.uint8, torch.float32):
        return None
    _, height, width, channels = images.shape
    shape = Shape(height, width, channels, weight.shape[2], stride, len(weight))
    if not Convolution.fits(shape):
        return None
    own = convolution(shape, images.dtype == torch.uint8)
    return own if own.has_image_gradient or not images.requires_grad else None


class _ConvolveRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, own: Convolution) -> Tensor:
        laid_out = weight.permute(2, 3, 1, 0).reshape(-1, len(weight))  # as images are: rows, columns, channels
        outputs = own.forward(images, laid_out.contiguous(), bias)
        ctx.save_for_backward(images, weight, outputs)
        ctx.own = own
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        images, weight, outputs = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient.contiguous(), outputs, 0.0)  # of the ReLU
        by_image = ctx.own.image_gradient(gradient, weight) if ctx.needs_input_grad[0] else None
        rows, columns = weight.shape[2:]
        by_weight = ctx.own.weight_gradient(images, gradient).view(rows, columns, -1, len(weight)).permute(3, 2, 0, 1)
        return by_image, by_weight, gradient.sum((0, 1, 2)), None
