"""Denormal numbers, which processors handle many times more slowly than others, rounded to zero in our arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

_DENORMAL = 5e-324


def flushed_denormals() -> AbstractContextManager[None]:
    """Rounds denormal numbers to zero in this thread while networks and optimisers compute.

    Statistics of the optimiser become denormal where a parameter's gradient is zero for long. The mode is one of the
    processor and applies to all arithmetic of the thread, so environments must run outside of it.
    """
    return _FlushedDenormals()


class _FlushedDenormals(AbstractContextManager[None]):
    """A class, because a generator would cost several microseconds at each step."""

    def __enter__(self) -> None:
        self.before = _DENORMAL * 1.0 == 0.0  # torch does not tell its mode
        torch.set_flush_denormal(True)

    def __exit__(self, *_: object) -> None:
        torch.set_flush_denormal(self.before)
