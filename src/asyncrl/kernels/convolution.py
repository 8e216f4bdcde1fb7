"""Convolution with ReLU, and its gradients, on images [N, H, W, C]; a block of output pixels stays in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from asyncrl.kernels.llvm import LANES, Compiled, Emitter, Pointer, Value, registers

_FLOATS: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}


@dataclass(frozen=True)
class Shape:
    """Sizes of a convolution without padding."""

    height: int
    width: int
    channels: int
    kernel: int
    stride: int
    outputs: int

    @property
    def rows(self) -> int:
        """Rows of the output."""
        return (self.height - self.kernel) // self.stride + 1

    @property
    def columns(self) -> int:
        """Columns of the output."""
        return (self.width - self.kernel) // self.stride + 1

    @property
    def size(self) -> int:
        """Number of entries of an image."""
        return self.height * self.width * self.channels

    @property
    def span(self) -> int:
        """Number of entries under one row of the kernel, which lie side by side in an image."""
        return self.kernel * self.channels


@dataclass(frozen=True)
class Layout:
    """Where outputs are written: the distance in memory from one image, row and column to the next, in floats."""

    image: int
    row: int
    column: int
    vectors: tuple[int, ...]  # offset of each vector of a pixel


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

    def _floats(self) -> Tensor:
        """Scratch memory for one image of bytes as floats; empty if images are floats already."""
        return torch.empty(-(-self.shape.size // LANES) * LANES if self.bytes else 0, **_FLOATS)

    @property
    def _reach(self) -> int:
        """Number of outputs along one axis that depend on a pixel."""
        return self.shape.kernel // self.shape.stride

    @cached_property
    def _forward(self) -> Compiled:
        return _emit_forward(self.shape, self._layout, self.bytes, positive=True)

    @cached_property
    def _forward_without_relu(self) -> Compiled:
        return _emit_forward(self.shape, self._layout, self.bytes, positive=False)

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
        return _emit_forward(blocks, Layout(shape.size, s * row, block, vectors), bytes_=False, positive=False)

    @cached_property
    def _weight_gradient(self) -> Compiled:
        return _emit_weight_gradient(self.shape, self.bytes)


@lru_cache(maxsize=64)
def kernels_for(shape: Shape, bytes_: bool) -> Convolution:
    """Returns the kernels for a shape. Each is compiled when it is first used."""
    return Convolution(shape, bytes_)


def _emit_forward(shape: Shape, layout: Layout, bytes_: bool, positive: bool) -> Compiled:
    kind = "byte" if bytes_ else "float"
    emit = Emitter("forward", [kind, "float", "float", "float", "float"])
    images, weights, bias, outputs, floats = emit.pointers
    groups = _groups(len(layout.vectors))

    def image(i: Value, _: Sequence[Value]) -> None:
        source = _as_floats(emit, emit.at(images, emit.times(i, shape.size)), floats, shape, bytes_)
        target = emit.at(outputs, emit.times(i, layout.image))

        def row(y: Value, _: Sequence[Value]) -> None:
            upper = emit.at(source, emit.times(y, shape.stride * shape.width * shape.channels))
            written = emit.at(target, emit.times(y, layout.row))
            for vectors in groups:
                for pixels in _parts(shape.columns, max(1, registers() // len(vectors))):
                    sums = [emit.load(emit.at(bias, v * LANES)) for _ in pixels for v in vectors]
                    sums = emit.loop(shape.kernel, products(upper, pixels, vectors), sums)
                    places = [
                        emit.at(written, pixel * layout.column + layout.vectors[v]) for pixel in pixels for v in vectors
                    ]
                    for place, number in zip(places, sums, strict=True):
                        emit.store(emit.positive_part(number) if positive else number, place)

        emit.loop(shape.rows, row)

    def products(upper: Pointer, pixels: range, vectors: range) -> Callable[[Value, Sequence[Value]], Sequence[Value]]:
        def kernel_row(k: Value, sums: Sequence[Value]) -> Sequence[Value]:
            line = emit.at(upper, emit.times(k, shape.width * shape.channels))
            matrix = emit.at(weights, emit.times(k, shape.span * shape.outputs))

            def number(j: Value, sums: Sequence[Value]) -> Sequence[Value]:
                factors = [
                    emit.load(emit.at(emit.at(matrix, emit.times(j, shape.outputs)), v * LANES)) for v in vectors
                ]
                added = []
                for position, x in enumerate(pixels):
                    value = emit.broadcast(emit.at(emit.at(line, j), x * shape.stride * shape.channels))
                    added += [
                        emit.multiply_add(value, factor, sums[position * len(vectors) + v])
                        for v, factor in enumerate(factors)
                    ]
                return added

            return emit.loop(shape.span, number, sums)

        return kernel_row

    emit.loop(emit.count, image)
    return emit.compile()


def _emit_weight_gradient(shape: Shape, bytes_: bool) -> Compiled:
    kind = "byte" if bytes_ else "float"
    emit = Emitter("weight_gradient", [kind, "float", "float", "float"])
    images, gradient, weights, floats = emit.pointers
    groups = _groups(shape.outputs // LANES)
    # number of weights that are computed together
    most = max(1, min(16, registers()) // len(groups[0]))
    block = next(n for n in range(most, 0, -1) if shape.span % n == 0)

    def image(i: Value, _: Sequence[Value]) -> None:
        source = _as_floats(emit, emit.at(images, emit.times(i, shape.size)), floats, shape, bytes_)
        outputs = emit.at(gradient, emit.times(i, shape.rows * shape.columns * shape.outputs))

        def row(y: Value, _: Sequence[Value]) -> None:
            upper = emit.at(source, emit.times(y, shape.stride * shape.width * shape.channels))
            outer = emit.at(outputs, emit.times(y, shape.columns * shape.outputs))

            def kernel_row(k: Value, _: Sequence[Value]) -> None:
                line = emit.at(upper, emit.times(k, shape.width * shape.channels))
                matrix = emit.at(weights, emit.times(k, shape.span * shape.outputs))

                def part(j: Value, _: Sequence[Value]) -> None:
                    inner = emit.at(line, emit.times(j, block))
                    corner = emit.at(matrix, emit.times(j, block * shape.outputs))
                    for vectors in groups:
                        places = [emit.at(corner, n * shape.outputs + v * LANES) for n in range(block) for v in vectors]
                        added = emit.loop(
                            shape.columns, products(inner, outer, vectors), [emit.load(place) for place in places]
                        )
                        for place, number in zip(places, added, strict=True):
                            emit.store(number, place)

                emit.loop(shape.span // block, part)

            emit.loop(shape.kernel, kernel_row)

        emit.loop(shape.rows, row)

    def products(inner: Pointer, outer: Pointer, vectors: range) -> Callable[[Value, Sequence[Value]], Sequence[Value]]:
        def pixel(x: Value, sums: Sequence[Value]) -> Sequence[Value]:
            factors = [emit.load(emit.at(emit.at(outer, emit.times(x, shape.outputs)), v * LANES)) for v in vectors]
            first = emit.at(inner, emit.times(x, shape.stride * shape.channels))
            added = []
            for n in range(block):
                value = emit.broadcast(emit.at(first, n))
                added += [
                    emit.multiply_add(value, factor, sums[n * len(vectors) + v]) for v, factor in enumerate(factors)
                ]
            return added

        return pixel

    emit.loop(emit.count, image)
    return emit.compile()


def _parts(count: int, most: int) -> list[range]:
    """Splits numbers into as few ranges as possible, of nearly the same length and at most that long."""
    parts = -(-count // most)
    bounds = [count * part // parts for part in range(parts + 1)]
    return [range(*pair) for pair in pairwise(bounds)]


def _groups(vectors: int) -> list[range]:
    """Parts of a pixel's vectors that are computed one after the other.

    A block of pixels and vectors stays in registers. Of each part it should have several pixels, which share the
    vectors of weights that are loaded.
    """
    size = next(n for n in range(max(1, registers() // 6), 0, -1) if vectors % n == 0)
    return [range(first, first + size) for first in range(0, vectors, size)]


def _as_floats(emit: Emitter, image: Pointer, floats: Pointer, shape: Shape, bytes_: bool) -> Pointer:
    """Returns the image as floats: the image itself, or a copy of its bytes in `floats`."""
    if not bytes_:
        return image

    def copy(i: Value, _: Sequence[Value]) -> None:
        offset = emit.times(i, LANES)
        emit.store(emit.load_bytes(emit.at(image, offset)), emit.at(floats, offset))

    emit.loop(shape.size // LANES, copy)
    if shape.size % LANES:  # the last vector ends where the image does, and overlaps the one before
        last = shape.size - LANES
        emit.store(emit.load_bytes(emit.at(image, last)), emit.at(floats, last))
    return floats
