"""Convolution with ReLU, and its gradients, on images [N, H, W, C]; a block of output pixels stays in registers."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from asyncrl.kernels import convolution_code
from asyncrl.kernels.convolution_code import Layout, Shape
from asyncrl.kernels.image_gradient import image_gradient_of_few
from asyncrl.kernels.llvm import LANES, Compiled

_FLOATS: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}


class Convolution:
    """Compiled kernels for one shape.

    Every entry of an image is multiplied with the weights of all outputs at once, in vectors. A block of pixels in one
    row of the output stays in registers until it is finished. The gradient by the image is a convolution too: each of
    its blocks of stride × stride pixels depends on (kernel / stride)² pixels of the output's gradient.

    Args:
        shape: Sizes of images, kernel and outputs.
        bytes_: Whether images are uint8; otherwise they are float32.
    """

    def __init__(self, shape: Shape, bytes_: bool) -> None:
        self.shape, self.bytes = shape, bytes_

    def __reduce__(self) -> tuple[Any, ...]:
        return kernels_for, (self.shape, self.bytes)  # compiled code cannot be copied

    @staticmethod
    def fits(shape: Shape) -> bool:
        """Whether kernels can be made for a shape: outputs must fill vectors, and the stride must divide the kernel."""
        return shape.outputs % LANES == 0 and shape.kernel % shape.stride == 0 and shape.size >= LANES

    @property
    def has_image_gradient(self) -> bool:
        """Whether `image_gradient` can be computed: images must be floats, and their channels must fill vectors."""
        return not self.bytes and self.shape.channels % LANES == 0

    def forward(self, images: Tensor, weights: Tensor, bias: Tensor, relu: bool = True) -> Tensor:
        """Computes the convolution and its ReLU.

        Args:
            images: [N, H, W, C].
            weights: [kernel · kernel · C, O].
            bias: [O].
            relu: False leaves the ReLU out.

        Returns:
            [N, rows, columns, O].
        """
        shape = self.shape
        outputs = torch.empty(len(images), shape.rows, shape.columns, shape.outputs, **_FLOATS)
        compiled = self._forward if relu else self._forward_without_relu
        compiled(images, weights, bias, outputs, self._floats(), count=len(images))
        return outputs

    def weight_gradient(self, images: Tensor, gradient: Tensor) -> Tensor:
        """Computes the gradient by the weights.

        Args:
            images: [N, H, W, C].
            gradient: Gradient by the convolution's output before its ReLU [N, rows, columns, O].

        Returns:
            [kernel · kernel · C, O], laid out as the weights of `forward`.
        """
        weights = torch.zeros(self.shape.kernel * self.shape.span, self.shape.outputs, **_FLOATS)
        self._weight_gradient(images, gradient, weights, self._floats(), count=len(images))
        return weights

    def image_gradient(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Computes the gradient by the images.

        Args:
            gradient: Gradient by the convolution's output before its ReLU [N, rows, columns, O].
            weight: Weights as torch lays them out [O, C, kernel, kernel].

        Returns:
            [N, H, W, C].
        """
        shape, reach, s = self.shape, self._reach, self.shape.stride
        # [O, C, reach, stride, reach, stride] → [reach, reach, O, stride, stride, C], the taps in reverse order
        taps = weight.reshape(shape.outputs, shape.channels, reach, s, reach, s).permute(2, 4, 0, 3, 5, 1).flip(0, 1)
        border = (reach - 1,) * 2
        padded = torch.nn.functional.pad(gradient, (0, 0, *border, *border))
        images = torch.empty(len(gradient), shape.height, shape.width, shape.channels, **_FLOATS)
        if (shape.rows + reach - 1) * s < shape.height or (shape.columns + reach - 1) * s < shape.width:
            images.zero_()  # pixels that no output depends on
        none = torch.zeros(s * s * shape.channels, **_FLOATS)
        self._image_gradient(padded, taps.contiguous(), none, images, self._floats(), count=len(gradient))
        return images

    def image_gradient_of_few(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Computes the gradient by the images faster, if most outputs have no gradient, as behind a ReLU.

        Args:
            gradient: Gradient by the convolution's output before its ReLU [N, rows, columns, O].
            weight: Weights as torch lays them out [O, C, kernel, kernel].

        Returns:
            [N, H, W, C].
        """
        shape = self.shape
        rows = weight.permute(0, 2, 3, 1).contiguous()
        images = torch.zeros(len(gradient), shape.height, shape.width, shape.channels, **_FLOATS)
        outputs = shape.positions * shape.outputs
        integers = torch.empty(outputs + shape.positions + 1, dtype=torch.int64)
        self._image_gradient_of_few(
            gradient, rows, images, torch.empty(outputs, **_FLOATS), integers, count=len(gradient)
        )
        return images

    def _floats(self) -> Tensor:
        """Scratch memory for one image of bytes as floats; empty if images are floats already."""
        return torch.empty(-(-self.shape.size // LANES) * LANES if self.bytes else 0, **_FLOATS)

    @property
    def _reach(self) -> int:
        """Number of outputs along one axis that depend on a pixel."""
        return self.shape.kernel // self.shape.stride

    @cached_property
    def _forward(self) -> Compiled:
        return convolution_code.forward(self.shape, self._layout, self.bytes, positive=True)

    @cached_property
    def _forward_without_relu(self) -> Compiled:
        return convolution_code.forward(self.shape, self._layout, self.bytes, positive=False)

    @property
    def _layout(self) -> Layout:
        """How outputs lie side by side."""
        shape, pixel = self.shape, self.shape.outputs
        return Layout(shape.rows * shape.columns * pixel, shape.columns * pixel, pixel, tuple(range(0, pixel, LANES)))

    @cached_property
    def _image_gradient(self) -> Compiled:
        shape, s, border = self.shape, self.shape.stride, 2 * (self._reach - 1)
        blocks = Shape(
            shape.rows + border, shape.columns + border, shape.outputs, self._reach, 1, s * s * shape.channels
        )
        row, block = shape.width * shape.channels, s * shape.channels
        vectors = tuple(a * row + b for a in range(s) for b in range(0, block, LANES))
        return convolution_code.forward(
            blocks, Layout(shape.size, s * row, block, vectors), bytes_=False, positive=False
        )

    @cached_property
    def _image_gradient_of_few(self) -> Compiled:
        return image_gradient_of_few(self.shape)

    @cached_property
    def _weight_gradient(self) -> Compiled:
        return convolution_code.weight_gradient(self.shape, self.bytes)


@lru_cache(maxsize=64)
def kernels_for(shape: Shape, bytes_: bool) -> Convolution:
    """Returns the kernels for a shape. Each is compiled when it is first used."""
    return Convolution(shape, bytes_)
