"""Where a worker's time goes."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

PHASES = ("environment", "act", "learn", "update", "other")
"""Stepping environments, choosing actions, gradients of the loss, applying them; and the rest."""


class PhaseClock:
    """A stopwatch whose laps are booked to phases.

    Args:
        pulse: A number [1] counted up with each lap, for others to see that the work goes on.
    """

    def __init__(self, pulse: NDArray[np.int64] | None = None) -> None:
        self.pulse = np.zeros(1, np.int64) if pulse is None else pulse
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.lap_began = time.perf_counter()

    def restart(self) -> None:
        """Forgets the time since the last lap: a report was sent, or other workers of this process had it."""
        self.lap_began = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Books the time since the last lap to a phase."""
        now = time.perf_counter()
        self.seconds[phase] += now - self.lap_began
        self.lap_began = now
        self.pulse[0] += 1

    def pop(self) -> dict[str, float]:
        """Seconds of each phase since the last call."""
        seconds, self.seconds = self.seconds, dict.fromkeys(PHASES, 0.0)
        return seconds
