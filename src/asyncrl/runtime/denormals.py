"""Denormal numbers, which processors handle many times more slowly than others, rounded to zero in our arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_DENORMAL, _ONE = np.float32(1e-40), np.float32(1)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Rounds denormal numbers to zero in this thread, for networks and optimisers; also a decorator of functions.

    Optimiser statistics of parameters whose gradient is zero for long become denormal. The setting is the processor's
    and applies to all arithmetic of the thread, so environments must run outside of it.
    """
    before = _flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes_denormals() -> bool:
    return bool(_DENORMAL * _ONE == 0)
