"""Code that finds and reads the windows of a convolution's kernel, the parts of an image that an output depends on."""

from __future__ import annotations

from collections.abc import Sequence

from asyncrl.kernels.convolution_code import Shape
from asyncrl.kernels.llvm import LANES, Pointer, Value
from asyncrl.kernels.llvm_integers import IntegerEmitter


def list_windows(emit: IntegerEmitter, shape: Shape, flags: Pointer, windows: Pointer, spare: int) -> Value:
    """Emits a list of an image's windows with a flag, and returns their number.

    Args:
        emit: The emitter.
        shape: Sizes of the convolution.
        flags: Of the image's windows.
        windows: Where the list is written: of each window the offset of its first entry in the image, and of its
            outputs.
        spare: How often the first window of the image follows at the end of the list.
    """

    def row(y: Value, carried: Sequence[Value]) -> Sequence[Value]:
        corner, pixel = emit.times(y, shape.stride * shape.width * shape.channels), emit.times(y, shape.columns)

        def window(x: Value, carried: Sequence[Value]) -> Sequence[Value]:
            (number,), position = carried, emit.plus(pixel, x)
            place = emit.at(windows, emit.times(number, 2))
            emit.put(emit.plus(corner, emit.times(x, shape.stride * shape.channels)), place)
            emit.put(emit.times(position, shape.outputs), emit.at(place, 1))
            return [emit.plus(number, emit.number(emit.at(flags, position)))]

        return emit.loop(shape.columns, window, carried)

    (number,) = emit.loop(shape.rows, row, [emit.constant(0)])
    for place in range(2 * spare):
        emit.put(0, emit.at(emit.at(windows, emit.times(number, 2)), place))
    return number


def copy_window(
    emit: IntegerEmitter, shape: Shape, target: Pointer, corner: Pointer, bytes_: bool, common: Pointer | None = None
) -> None:
    """Emits a copy, as floats, of the entries of a window; less those of the background if it is given."""

    def row(k: Value, _: Sequence[Value]) -> None:
        offset, written = emit.times(k, shape.width * shape.channels), emit.at(target, emit.times(k, shape.span))
        for v in range(0, shape.span, LANES):
            entries = [
                (emit.load_bytes if bytes_ else emit.load)(emit.at(emit.at(source, offset), v))
                for source in (corner, common)
                if source is not None
            ]
            emit.store(emit.difference(*entries) if common is not None else entries[0], emit.at(written, v))

    emit.loop(shape.kernel, row)
