"""Code of the loops that find and use what images have in common: windows of the kernel with nothing but background."""

from __future__ import annotations

from collections.abc import Sequence

from asyncrl.kernels.convolution_code import (
    Layout,
    Shape,
    Sums,
    add_products,
    as_floats,
    block_of,
    convolve,
    groups,
)
from asyncrl.kernels.llvm import LANES, Compiled, Pointer, Value, registers
from asyncrl.kernels.llvm_integers import WIDTH, IntegerEmitter
from asyncrl.kernels.windows import copy_window, list_windows

BLOCK = 12
"""Most windows whose outputs are computed together."""
CHUNK = 32
"""Most windows whose products are summed up together: they fit in the nearest cache."""
CROWDED = 0.8
"""Images are computed as a whole if a larger share of their windows differs from the background."""


def background(size: int) -> Compiled:
    """Compiles a vote of images on each of their bytes: what more than half of them have, if there is such a byte.

    Arguments are the images, the background, and the distance between two images that vote.

    Args:
        size: Bytes of an image.
    """
    emit = IntegerEmitter("background", ["byte", "byte", "integer"])
    images, result, distance = emit.pointers
    step = emit.number(distance)

    def elect(offset: Value) -> None:
        def vote(i: Value, carried: Sequence[Value]) -> Sequence[Value]:
            votes = emit.bytes_at(emit.at(emit.at(images, emit.product_of(i, step)), offset))
            candidates, leads = carried
            return emit.vote(candidates, leads, votes)

        candidates, _ = emit.loop(emit.count, vote, [emit.no_bytes(), emit.no_bytes()])
        emit.put_bytes(candidates, emit.at(result, offset))

    emit.loop(size // WIDTH, lambda i, _: elect(emit.times(i, WIDTH)))
    if size % WIDTH:
        elect(emit.constant(size - WIDTH))
    return emit.compile()


def differences(shape: Shape) -> Compiled:
    """Compiles which windows of images of bytes differ from a background: a byte for each, 1 if it does and else 0.

    Arguments are the images, the background, the flags [N, rows, columns], and scratch memory.
    """
    emit = IntegerEmitter("differences", ["byte", "byte", "byte", "byte"])
    images, common, flags, cells = emit.pointers
    stride, reach, line = shape.stride, shape.kernel // shape.stride, shape.width * shape.channels
    across = shape.columns + reach - 1  # blocks of stride × stride pixels

    def image(i: Value, _: Sequence[Value]) -> None:
        source = emit.at(images, emit.times(i, shape.size))
        target = emit.at(flags, emit.times(i, shape.positions))

        def cell(y: Value, x: Value) -> None:
            corner = emit.plus(emit.times(y, stride * line), emit.times(x, stride * shape.channels))
            one, other = (
                [emit.at(emit.at(pixels, corner), row * line) for row in range(stride)] for pixels in (source, common)
            )
            differs = emit.any_differs(one, other, stride * shape.channels)
            emit.put_flag(differs, emit.at(cells, emit.plus(emit.times(y, across), x)))

        def window(y: Value, x: Value) -> None:
            corner = emit.at(cells, emit.plus(emit.times(y, across), x))
            flag = emit.any_flag([emit.at(corner, a * across + b) for a in range(reach) for b in range(reach)])
            emit.put(flag, emit.at(target, emit.plus(emit.times(y, shape.columns), x)))

        emit.loop(shape.rows + reach - 1, lambda y, _: emit.loop(across, lambda x, _: cell(y, x)) and None)
        emit.loop(shape.rows, lambda y, _: emit.loop(shape.columns, lambda x, _: window(y, x)) and None)

    emit.loop(emit.count, image)
    return emit.compile()


def forward(shape: Shape, bytes_: bool) -> Compiled:
    """Compiles a convolution with ReLU of images whose other windows have the outputs of the background.

    Arguments are the images, the flags of their windows, the background's outputs, weights, bias, outputs, and scratch
    memory of floats and of integers.
    """
    kind = "byte" if bytes_ else "float"
    emit = IntegerEmitter("forward", [kind, "byte", *["float"] * 5, "integer"])
    images, flags, common, weights, bias, outputs, floats, windows = emit.pointers
    size, entries = shape.positions * shape.outputs, shape.kernel * shape.span
    layout = Layout(size, shape.columns * shape.outputs, shape.outputs, tuple(range(0, shape.outputs, LANES)))
    parts = groups(shape.outputs // LANES)
    block = max(1, min(BLOCK, registers() // len(parts[0])))

    def image(i: Value, _: Sequence[Value]) -> None:
        source = emit.at(images, emit.times(i, shape.size))
        target = emit.at(outputs, emit.times(i, size))
        number = list_windows(emit, shape, emit.at(flags, emit.times(i, shape.positions)), windows, block)

        def whole() -> None:
            convolve(emit, shape, layout, as_floats(emit, source, floats, shape, bytes_), (weights, bias), target, True)

        def some() -> None:
            def copy(n: Value, _: Sequence[Value]) -> None:
                offset = emit.times(n, LANES)
                emit.store(emit.load(emit.at(common, offset)), emit.at(target, offset))

            emit.loop(size // LANES, copy)
            emit.loop(emit.parts(number, block), lambda b, _: several(emit.at(windows, emit.times(b, 2 * block))))

        def several(listed: Pointer) -> None:
            for w in range(block):
                corner = emit.at(source, emit.number(emit.at(listed, 2 * w)))
                copy_window(emit, shape, emit.at(floats, w * entries), corner, bytes_)
            for vectors in parts:

                def entry(j: Value, sums: Sequence[Value], vectors: range = vectors) -> Sequence[Value]:
                    row = emit.at(weights, emit.times(j, shape.outputs))
                    factors = [emit.load(emit.at(row, v * LANES)) for v in vectors]
                    values = [emit.broadcast(emit.at(emit.at(floats, j), w * entries)) for w in range(block)]
                    pairs = [(value, factor) for value in values for factor in factors]
                    return [emit.multiply_add(*pair, sum_) for pair, sum_ in zip(pairs, sums, strict=True)]

                sums = emit.loop(
                    entries, entry, [emit.load(emit.at(bias, v * LANES)) for _ in range(block) for v in vectors]
                )
                for w in range(block):
                    pixel = emit.at(target, emit.number(emit.at(listed, 2 * w + 1)))
                    for v, sum_ in zip(vectors, sums[w * len(vectors) :], strict=False):
                        emit.store(emit.positive_part(sum_), emit.at(pixel, v * LANES))

        emit.either(emit.is_less(number, int(CROWDED * shape.positions) + 1), some, whole)

    emit.loop(emit.count, image)
    return emit.compile()


def weight_gradient(shape: Shape, bytes_: bool) -> Compiled:
    """Compiles the gradient by the weights, without what the background adds to it.

    A window adds the product of what it holds and the gradient by its outputs. That is the sum of two products: that of
    the background there, and that of the difference to it. Here the second one is added to the gradient by the weights;
    for the first one the gradients by the outputs are summed up over the images.

    Arguments are the images, the flags of their windows, the background, the gradient by the outputs, the gradient by
    the weights, the sum, and scratch memory of floats and of integers.
    """
    kind = "byte" if bytes_ else "float"
    emit = IntegerEmitter("weight_gradient", [kind, "byte", kind, *["float"] * 4, "integer"])
    images, flags, common, gradient, weights, total, floats, windows = emit.pointers
    size, entries = shape.positions * shape.outputs, shape.kernel * shape.span
    parts = groups(shape.outputs // LANES)
    block = block_of(entries, len(parts[0]))
    pulls = emit.at(floats, CHUNK * entries)  # the gradients by the outputs of a chunk of windows

    def image(i: Value, _: Sequence[Value]) -> None:
        source = emit.at(images, emit.times(i, shape.size))
        outer = emit.at(gradient, emit.times(i, size))
        number = list_windows(emit, shape, emit.at(flags, emit.times(i, shape.positions)), windows, 1)

        def whole() -> None:
            add_products(emit, shape, as_floats(emit, source, floats, shape, bytes_), outer, weights)

        def some() -> None:
            def add(n: Value, _: Sequence[Value]) -> None:
                place = emit.at(total, emit.times(n, LANES))
                emit.store(emit.sum(emit.load(place), emit.load(emit.at(outer, emit.times(n, LANES)))), place)

            emit.loop(size // LANES, add)
            emit.loop(emit.parts(number, CHUNK), lambda c, _: several(emit.times(c, CHUNK)))

        def several(first: Value) -> None:
            # at least one window, which is the image's first one, and adds nothing, if there are no others
            chunk = emit.larger(emit.smaller(emit.minus(number, first), CHUNK), 1)
            listed = emit.at(windows, emit.times(first, 2))

            def window(w: Value, _: Sequence[Value]) -> None:
                pair = emit.at(listed, emit.times(w, 2))
                corner, pixel = emit.number(pair), emit.number(emit.at(pair, 1))
                place = emit.at(floats, emit.times(w, entries))
                copy_window(emit, shape, place, emit.at(source, corner), bytes_, emit.at(common, corner))
                for v in range(0, shape.outputs, LANES):
                    pull = emit.load(emit.at(emit.at(outer, pixel), v))
                    emit.store(pull, emit.at(emit.at(pulls, emit.times(w, shape.outputs)), v))

            def part(j: Value, _: Sequence[Value]) -> None:
                inner = emit.at(floats, emit.times(j, block))
                corner = emit.at(weights, emit.times(j, block * shape.outputs))
                for vectors in parts:
                    Sums(chunk, entries, block, vectors).add(emit, inner, pulls, corner, shape.outputs)

            emit.loop(chunk, window)
            emit.loop(entries // block, part)

        emit.either(emit.is_less(number, int(CROWDED * shape.positions) + 1), some, whole)

    emit.loop(emit.count, image)
    return emit.compile()
