"""Convolutions of images that have a background in common, which is computed only once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from asyncrl.kernels import background_code
from asyncrl.kernels.background_code import BLOCK, CHUNK
from asyncrl.kernels.convolution import Convolution
from asyncrl.kernels.convolution_code import Shape
from asyncrl.kernels.llvm import LANES, Compiled
from asyncrl.kernels.llvm_integers import WIDTH

VOTES = 32
"""Most images that are asked for the background."""


class Background:
    """What most images of bytes have in common, and which windows of their convolutions show something else.

    Screens of games have a background that hardly changes. A window of a convolution's kernel that shows nothing but
    background has the same outputs in each image, and so need be computed only once.

    Args:
        convolutions: Each of the outputs of the one before.
    """

    def __init__(self, convolutions: Sequence[Convolution]) -> None:
        self.convolutions, self.shapes = tuple(convolutions), [each.shape for each in convolutions]
        self.kernels = [WithBackground(each) for each in convolutions]

    def __reduce__(self) -> tuple[Any, ...]:
        return background_for, (self.convolutions,)  # compiled code cannot be copied

    @staticmethod
    def fits(convolutions: Sequence[Convolution]) -> bool:
        """Whether there are kernels for these convolutions: of bytes, with windows whose rows fill vectors."""
        rows = all(each.shape.span % LANES == 0 for each in convolutions)
        return convolutions[0].bytes and convolutions[0].shape.size >= WIDTH and rows

    def of(self, images: Tensor) -> Tensor:
        """The background [1, H, W, C] of images [N, H, W, C]."""
        step = -(-len(images) // VOTES)
        background = torch.empty(1, *images.shape[1:], dtype=torch.uint8)
        distance = torch.tensor([step * self.shapes[0].size])
        self._vote(images, background, distance, count=-(-len(images) // step))
        return background

    def differences(self, images: Tensor, background: Tensor) -> list[Tensor]:
        """Bytes that are 1 where a window differs from that of the background and 0 elsewhere.

        Args:
            images: [N, H, W, C].
            background: [1, H, W, C].

        Returns:
            For each convolution [N, rows, columns].
        """
        flags: list[Tensor] = []
        for shape, compiled in zip(self.shapes, self._differences, strict=True):
            cells = torch.empty(shape.height * shape.width, dtype=torch.uint8)
            flags.append(torch.empty(len(images), shape.rows, shape.columns, dtype=torch.uint8))
            common = torch.zeros_like(images[:1]) if len(flags) > 1 else background
            compiled(images, common, flags[-1], cells, count=len(images))
            images = flags[-1]
        return flags

    @cached_property
    def _vote(self) -> Compiled:
        return background_code.background(self.shapes[0].size)

    @cached_property
    def _differences(self) -> list[Compiled]:
        flags = [Shape(s.height, s.width, 1, s.kernel, s.stride, s.outputs) for s in self.shapes[1:]]
        return [background_code.differences(shape) for shape in (self.shapes[0], *flags)]


class WithBackground:
    """A convolution with ReLU of images most of whose windows are those of a background.

    Args:
        convolution: The same convolution of any images.
    """

    def __init__(self, convolution: Convolution) -> None:
        self.convolution, self.shape, self.bytes = convolution, convolution.shape, convolution.bytes

    def forward(self, images: Tensor, flags: Tensor, common: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        """Computes the convolution and its ReLU; the result is that of `Convolution.forward`.

        Args:
            images: [N, H, W, C].
            flags: Bytes that are 1 where a window differs from that of the background [N, rows, columns].
            common: Outputs of the background [1, rows, columns, O].
            weights: [kernel · kernel · C, O].
            bias: [O].

        Returns:
            [N, rows, columns, O].
        """
        shape = self.shape
        outputs = torch.empty(len(images), shape.rows, shape.columns, shape.outputs)
        scratch = self._scratch(BLOCK, 0)
        self._forward(images, flags, common, weights, bias, outputs, *scratch, count=len(images))
        return outputs

    def weight_gradient(self, images: Tensor, flags: Tensor, common: Tensor, gradient: Tensor) -> Tensor:
        """Computes the gradient by the weights.

        Args:
            images: [N, H, W, C].
            flags: Bytes that are 1 where a window differs from that of the background [N, rows, columns].
            common: The background [1, H, W, C].
            gradient: Gradient by the convolution's output before its ReLU [N, rows, columns, O].

        Returns:
            [kernel · kernel · C, O], laid out as the weights of `forward`.
        """
        shape = self.shape
        weights = torch.zeros(shape.kernel * shape.span, shape.outputs)
        total = torch.zeros(1, shape.rows, shape.columns, shape.outputs)
        scratch = self._scratch(CHUNK, shape.outputs)
        self._weight_gradient(images, flags, common, gradient, weights, total, *scratch, count=len(images))
        return weights.add_(self.convolution.weight_gradient(common, total))

    def _scratch(self, windows: int, outputs: int) -> tuple[Tensor, Tensor]:
        """Memory for some windows and their outputs, or for an image; and for a list of all windows."""
        shape = self.shape
        room = max(windows * (shape.kernel * shape.span + outputs), shape.size + LANES)
        return torch.empty(room), torch.empty(2 * (shape.positions + BLOCK), dtype=torch.int64)

    @cached_property
    def _forward(self) -> Compiled:
        return background_code.forward(self.shape, self.bytes)

    @cached_property
    def _weight_gradient(self) -> Compiled:
        return background_code.weight_gradient(self.shape, self.bytes)


@lru_cache(maxsize=64)
def background_for(convolutions: tuple[Convolution, ...]) -> Background | None:
    """Returns the kernels for some convolutions, or None if there are none. Each is compiled when it is first used."""
    return Background(convolutions) if Background.fits(convolutions) else None
