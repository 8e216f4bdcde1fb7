"""Code of the gradient of a convolution by its images, which leaves out outputs without a gradient."""

from __future__ import annotations

from collections.abc import Sequence

from asyncrl.kernels.convolution_code import Shape, ranges
from asyncrl.kernels.llvm import LANES, Compiled, Pointer, Value, registers
from asyncrl.kernels.llvm_integers import IntegerEmitter


def image_gradient_of_few(shape: Shape) -> Compiled:
    """Compiles the gradient by the images, which is added to what is there.

    The outputs of an image that have a gradient are listed first. A part of a window stays in registers while the
    weights of its outputs on the list are added to it; those of the same part of other windows are near in the cache.

    Arguments are the gradient by the outputs, the weights [O, kernel, kernel, C], the gradient by the images, and
    scratch memory: as many floats as an image has outputs, and as many integers and one for each window and one more.
    """
    emit = IntegerEmitter("image_gradient", ["float", "float", "float", "float", "integer"])
    gradient, weights, images, numbers, integers = emit.pointers
    starts = emit.at(integers, shape.positions * shape.outputs)  # of each window's outputs on the list
    line = shape.width * shape.channels
    vectors = [(k, v) for k in range(shape.kernel) for v in range(0, shape.span, LANES)]

    def list_outputs(outputs: Pointer) -> None:
        def window(position: Value, carried: Sequence[Value]) -> Sequence[Value]:
            (start,) = carried
            pixel = emit.at(outputs, emit.times(position, shape.outputs))

            def output(o: Value, carried: Sequence[Value]) -> Sequence[Value]:
                (count,), number = carried, emit.single(emit.at(pixel, o))
                emit.put_single(number, emit.at(numbers, count))
                emit.put(emit.times(o, shape.kernel * shape.span), emit.at(integers, count))
                return [emit.plus(count, emit.one_if_not_zero(number))]

            emit.put(start, emit.at(starts, position))
            (end,) = emit.loop(shape.outputs, output, [start])
            return [emit.larger(end, emit.plus(start, 1))]  # one that is zero if there are no others

        (end,) = emit.loop(shape.positions, window, [emit.constant(0)])
        emit.put(end, emit.at(starts, shape.positions))

    def add_weights(image: Pointer, part: Sequence[tuple[int, int]]) -> None:
        def window(y: Value, x: Value) -> None:
            corner = emit.at(image, emit.times(y, shape.stride * line))
            corner = emit.at(corner, emit.times(x, shape.stride * shape.channels))
            pixels = [emit.at(corner, k * line + v) for k, v in part]
            place = emit.at(starts, emit.plus(emit.times(y, shape.columns), x))
            start, end = emit.number(place), emit.number(emit.at(place, 1))

            def output(n: Value, sums: Sequence[Value]) -> Sequence[Value]:
                number = emit.broadcast(emit.at(emit.at(numbers, start), n))
                row = emit.at(weights, emit.number(emit.at(emit.at(integers, start), n)))
                factors = [emit.load(emit.at(row, k * shape.span + v)) for k, v in part]
                return [emit.multiply_add(number, factor, sum_) for factor, sum_ in zip(factors, sums, strict=True)]

            sums = emit.loop(emit.minus(end, start), output, [emit.load(pixel) for pixel in pixels])
            for pixel, sum_ in zip(pixels, sums, strict=True):
                emit.store(sum_, pixel)

        emit.loop(shape.rows, lambda y, _: emit.loop(shape.columns, lambda x, _: window(y, x)) and None)

    def image(i: Value, _: Sequence[Value]) -> None:
        list_outputs(emit.at(gradient, emit.times(i, shape.positions * shape.outputs)))
        for part in ranges(len(vectors), registers()):
            add_weights(emit.at(images, emit.times(i, shape.size)), [vectors[number] for number in part])

    emit.loop(emit.count, image)
    return emit.compile()
