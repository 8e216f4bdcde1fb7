"""Stacks of frames, with the bytes of a pixel side by side, put together from single frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.kernels.llvm import LANES, Compiled, Value
from asyncrl.kernels.llvm_integers import IntegerEmitter

STACK = 4


def fits(pixels: int) -> bool:
    """Whether frames of so many pixels can be put together."""
    return pixels % LANES == 0


def stacked(frames: NDArray[np.uint8], places: NDArray[np.int64], shown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Puts stacks of four frames together.

    Args:
        frames: [M, H, W].
        places: Of the frames of each stack [N, 4].
        shown: False where there is a black frame instead [N, 4].

    Returns:
        [N, H, W, 4].
    """
    pixels = int(np.prod(frames.shape[1:]))
    stacks = torch.empty((len(places), *frames.shape[1:], STACK), dtype=torch.uint8)
    offsets, masks = torch.from_numpy(places * pixels), torch.from_numpy(np.where(shown, 255, 0).astype(np.uint8))
    _compiled(pixels)(torch.from_numpy(frames), offsets, masks, stacks, count=len(places))
    return stacks.numpy()


@lru_cache(maxsize=64)
def _compiled(pixels: int) -> Compiled:
    emit = IntegerEmitter("stacked", ["byte", "integer", "byte", "byte"])
    frames, offsets, masks, stacks = emit.pointers

    def stack(i: Value, _: Sequence[Value]) -> None:
        numbers = [emit.plus(emit.times(i, STACK), frame) for frame in range(STACK)]
        sources = [emit.at(frames, emit.number(emit.at(offsets, number))) for number in numbers]
        shown = [emit.repeated(emit.at(masks, number)) for number in numbers]
        target = emit.at(stacks, emit.times(i, STACK * pixels))

        def part(j: Value, _: Sequence[Value]) -> None:
            place = emit.times(j, LANES)
            rows = [emit.masked(emit.at(source, place), mask) for source, mask in zip(sources, shown, strict=True)]
            emit.put_bytes(emit.interleaved(rows), emit.at(target, emit.times(place, STACK)))

        emit.loop(pixels // LANES, part)

    emit.loop(emit.count, stack)
    return emit.compile()
