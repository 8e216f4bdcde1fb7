"""Code of the loops of a convolution and of its gradient by the weights, for one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from asyncrl.kernels.llvm import LANES, Compiled, Emitter, Pointer, Value, registers


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
    def positions(self) -> int:
        """Number of places of the kernel, and so of pixels of the output."""
        return self.rows * self.columns

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


def forward(shape: Shape, layout: Layout, bytes_: bool, positive: bool) -> Compiled:
    """Compiles a convolution of images, weights and bias into outputs.

    Args:
        shape: Sizes of images, kernel and outputs.
        layout: Where outputs are written.
        bytes_: Whether images are uint8. They are copied to scratch memory as floats, one image at a time.
        positive: Whether a ReLU follows.
    """
    kind = "byte" if bytes_ else "float"
    emit = Emitter("forward", [kind, "float", "float", "float", "float"])
    images, weights, bias, outputs, floats = emit.pointers

    def image(i: Value, _: Sequence[Value]) -> None:
        source = as_floats(emit, emit.at(images, emit.times(i, shape.size)), floats, shape, bytes_)
        convolve(emit, shape, layout, source, (weights, bias), emit.at(outputs, emit.times(i, layout.image)), positive)

    emit.loop(emit.count, image)
    return emit.compile()


def convolve(
    emit: Emitter,
    shape: Shape,
    layout: Layout,
    source: Pointer,
    parameters: tuple[Pointer, Pointer],
    target: Pointer,
    positive: bool,
) -> None:
    """Emits the convolution of one image of floats into its outputs, with weights and bias as the parameters."""
    weights, bias = parameters

    def row(y: Value, _: Sequence[Value]) -> None:
        upper = emit.at(source, emit.times(y, shape.stride * shape.width * shape.channels))
        written = emit.at(target, emit.times(y, layout.row))
        for vectors in groups(len(layout.vectors)):
            for pixels in ranges(shape.columns, max(1, registers() // len(vectors))):
                sums = [emit.load(emit.at(bias, v * LANES)) for _ in pixels for v in vectors]
                sums = emit.loop(shape.kernel, products(upper, pixels, vectors), sums)
                places = [
                    emit.at(written, pixel * layout.column + layout.vectors[v]) for pixel in pixels for v in vectors
                ]
                for place, number in zip(places, sums, strict=True):
                    emit.store(emit.positive_part(number) if positive else number, place)

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

    emit.loop(shape.rows, row)


def weight_gradient(shape: Shape, bytes_: bool) -> Compiled:
    """Compiles the gradient by the weights, which is added to what is there, from images and the outputs' gradient.

    Args:
        shape: Sizes of images, kernel and outputs.
        bytes_: Whether images are uint8.
    """
    kind = "byte" if bytes_ else "float"
    emit = Emitter("weight_gradient", [kind, "float", "float", "float"])
    images, gradient, weights, floats = emit.pointers

    def image(i: Value, _: Sequence[Value]) -> None:
        source = as_floats(emit, emit.at(images, emit.times(i, shape.size)), floats, shape, bytes_)
        add_products(emit, shape, source, emit.at(gradient, emit.times(i, shape.positions * shape.outputs)), weights)

    emit.loop(emit.count, image)
    return emit.compile()


def add_products(emit: Emitter, shape: Shape, source: Pointer, outputs: Pointer, weights: Pointer) -> None:
    """Emits what one image of floats and the gradient by its outputs add to the gradient by the weights."""
    parts = groups(shape.outputs // LANES)
    block = block_of(shape.span, len(parts[0]))

    def row(y: Value, _: Sequence[Value]) -> None:
        upper = emit.at(source, emit.times(y, shape.stride * shape.width * shape.channels))
        outer = emit.at(outputs, emit.times(y, shape.columns * shape.outputs))

        def kernel_row(k: Value, _: Sequence[Value]) -> None:
            line = emit.at(upper, emit.times(k, shape.width * shape.channels))
            matrix = emit.at(weights, emit.times(k, shape.span * shape.outputs))

            def part(j: Value, _: Sequence[Value]) -> None:
                inner = emit.at(line, emit.times(j, block))
                corner = emit.at(matrix, emit.times(j, block * shape.outputs))
                for vectors in parts:
                    sums = Sums(shape.columns, shape.stride * shape.channels, block, vectors)
                    sums.add(emit, inner, outer, corner, shape.outputs)

            emit.loop(shape.span // block, part)

        emit.loop(shape.kernel, kernel_row)

    emit.loop(shape.rows, row)


@dataclass(frozen=True)
class Sums:
    """Sums of products over positions: of `block` entries of the images with some vectors of the outputs' gradient."""

    positions: Value | int  # how many
    step: int  # entries of the image from one position to the next
    block: int
    vectors: range

    def add(self, emit: Emitter, inner: Pointer, outer: Pointer, corner: Pointer, outputs: int) -> None:
        """Emits their addition to the gradient by the weights.

        Args:
            emit: The emitter.
            inner: The first position's first entry of the image.
            outer: The first position's gradient.
            corner: The gradient by the first entry's weights.
            outputs: Number of outputs.
        """
        vectors = self.vectors
        places = [emit.at(corner, n * outputs + v * LANES) for n in range(self.block) for v in vectors]
        before = [emit.load(place) for place in places]

        def position(x: Value, sums: Sequence[Value]) -> Sequence[Value]:
            factors = [emit.load(emit.at(emit.at(outer, emit.times(x, outputs)), v * LANES)) for v in vectors]
            first = emit.at(inner, emit.times(x, self.step))
            added = []
            for n in range(self.block):
                value = emit.broadcast(emit.at(first, n))
                added += [
                    emit.multiply_add(value, factor, sums[n * len(vectors) + v]) for v, factor in enumerate(factors)
                ]
            return added

        for place, number in zip(places, emit.loop(self.positions, position, before), strict=True):
            emit.store(number, place)


def block_of(entries: int, vectors: int) -> int:
    """Number of weights that are computed together, each with so many vectors of outputs."""
    most = max(1, min(16, registers()) // vectors)
    return next(n for n in range(most, 0, -1) if entries % n == 0)


def ranges(count: int, most: int) -> list[range]:
    """Splits numbers into as few ranges as possible, of nearly the same length and at most that long."""
    parts = -(-count // most)
    bounds = [count * part // parts for part in range(parts + 1)]
    return [range(*pair) for pair in pairwise(bounds)]


def groups(vectors: int) -> list[range]:
    """Parts of a pixel's vectors that are computed one after the other.

    A block of pixels and vectors stays in registers. It should have six pixels or more, which share the vectors of
    weights that are loaded: with AVX2 a part is one vector, with AVX-512 up to four.
    """
    size = next(n for n in range(max(1, registers() // 6), 0, -1) if vectors % n == 0)
    return [range(first, first + size) for first in range(0, vectors, size)]


def as_floats(emit: Emitter, image: Pointer, floats: Pointer, shape: Shape, bytes_: bool) -> Pointer:
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
