"""Where a worker's time goes."""

from __future__ import annotations

import time

PHASES = ("environment", "act", "learn", "update", "other")
"""Stepping environments, choosing actions, gradients of the loss, applying them; and the rest."""


class PhaseClock:
    """A stopwatch whose laps are booked to phases."""

    def __init__(self) -> None:
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

    def pop(self) -> dict[str, float]:
        """Seconds of each phase since the last call."""
        seconds, self.seconds = self.seconds, dict.fromkeys(PHASES, 0.0)
        return seconds
