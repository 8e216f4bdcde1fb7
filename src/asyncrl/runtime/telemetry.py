"""Adds up the reports of workers and makes lines of metrics from them."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from asyncrl import metrics
from asyncrl.metrics import WINDOW
from asyncrl.runtime.shared import Counts
from asyncrl.types import Report

Metrics = dict[str, Any]
"""One line of metrics.jsonl: a number for each metric, or None where there is no value yet."""

ROUNDING = 1e-10
"""A variance below this share of the mean square is only rounding error of single-precision targets."""
SPEED_WINDOW = 10.0
"""Seconds over which `steps_per_second` is measured."""


@dataclass(frozen=True)
class TelemetryState:
    """The counts that a resumed run continues, as plain data."""

    episodes: int = 0
    best_return_mean: float | None = None
    recent_episodes: list[tuple[float, float]] = field(default_factory=list)  # return and length, oldest first
    wall_seconds: float = 0.0
    restarts: int = 0
    dropped_updates: int = 0


class Telemetry:
    """Adds up what workers report, and makes a line of metrics when asked.

    Args:
        frames_per_step: Emulator frames per agent decision.
        steps: Steps that earlier sessions of the run did.
        state: What `state()` returned when the run was saved; for a run that is resumed.
    """

    def __init__(self, frames_per_step: int, steps: int = 0, state: TelemetryState | None = None) -> None:
        state = state or TelemetryState()
        self.frames_per_step = frames_per_step
        self.reported = state.episodes  # episodes in all reports so far
        self.best_return_mean = state.best_return_mean
        self.recent: deque[tuple[float, float]] = deque(state.recent_episodes, WINDOW)
        self.total = sum(episode[0] for episode in self.recent)  # sum of the recent returns
        self.seconds_before = state.wall_seconds
        self.restarts, self.dropped_updates = state.restarts, state.dropped_updates
        self.started = time.monotonic()
        self.speed: deque[tuple[float, int]] = deque([(self.started, steps)])  # seconds, steps
        self.pending = Report(worker=-1)  # statistics since the last line
        self.seconds = Report(worker=-1)  # time in each phase in this session

    def add(self, report: Report) -> None:
        """Adds a report."""
        self.pending += Report(report.worker, report.updates, (), report.totals, report.seconds)
        self.seconds += Report(report.worker, seconds=report.seconds)
        self.dropped_updates += report.dropped
        for episode in report.episodes:
            self.reported += 1
            self.total += episode.total_reward - (self.recent[0][0] if len(self.recent) == WINDOW else 0.0)
            self.recent.append((episode.total_reward, episode.length))
            if self.reported % WINDOW == 0:
                self.total = sum(episode[0] for episode in self.recent)  # removes rounding errors
            if len(self.recent) == WINDOW:
                mean = self.total / WINDOW
                if self.best_return_mean is None or mean > self.best_return_mean:
                    self.best_return_mean = mean

    @property
    def wall_seconds(self) -> float:
        """Seconds of training in all sessions of the run."""
        return self.seconds_before + time.monotonic() - self.started

    def reached(self, until_return: float | None) -> bool:
        """Whether the mean return of the last 100 episodes has reached the goal; False without a goal."""
        mean = self.return_mean
        return until_return is not None and mean is not None and mean >= until_return

    @property
    def return_mean(self) -> float | None:
        """Mean return of the last 100 training episodes; None before there are that many."""
        return self._mean(0) if len(self.recent) == WINDOW else None

    def shares(self) -> Metrics:
        """The share of the workers' time that each phase took in this session, as metrics."""
        return _shares(self.seconds)

    def state(self, episodes: int) -> TelemetryState:
        """The counts that a resumed run continues; `episodes` is the number of all episodes so far."""
        return TelemetryState(
            episodes,
            self.best_return_mean,
            list(self.recent),
            self.wall_seconds,
            self.restarts,
            self.dropped_updates,
        )

    def line(self, counts: Counts, learning_rate: float, workers: int) -> Metrics:
        """Makes a line of metrics. Statistics and shares of time are over the updates since the last line.

        Args:
            counts: Counts of all workers.
            learning_rate: The current learning rate.
            workers: Number of running workers.
        """
        count = max(1, self.pending.updates)
        means = {name: total / count for name, total in self.pending.totals.items()}
        shares = _shares(self.pending)
        self.pending = Report(worker=-1)
        return {
            metrics.WALL_SECONDS: round(self.wall_seconds, 3),
            metrics.STEPS: counts.steps,
            metrics.FRAMES: counts.steps * self.frames_per_step,
            metrics.UPDATES: counts.updates,
            metrics.EPISODES: counts.episodes,
            metrics.RETURN_MEAN: self._mean(0),
            metrics.RETURN_STD: self._return_std(),
            metrics.LENGTH_MEAN: self._mean(1),
            metrics.STEPS_PER_SECOND: round(self._steps_per_second(counts.steps), 1),
            metrics.LEARNING_RATE: learning_rate,
            metrics.WORKERS: workers,
            metrics.RESTARTS: self.restarts,
            metrics.DROPPED_UPDATES: self.dropped_updates,
            **_with_value_explained(means),
            **shares,
        }

    def _mean(self, column: int) -> float | None:
        values = [episode[column] for episode in self.recent]
        return sum(values) / len(values) if values else None

    def _return_std(self) -> float | None:
        mean = self._mean(0)
        return (
            None
            if mean is None
            else math.sqrt(sum((episode[0] - mean) ** 2 for episode in self.recent) / len(self.recent))
        )

    def _steps_per_second(self, steps: int) -> float:
        now = time.monotonic()
        self.speed.append((now, steps))
        while len(self.speed) > 2 and now - self.speed[1][0] >= SPEED_WINDOW:
            self.speed.popleft()
        then, before = self.speed[0]
        return (steps - before) / max(now - then, 1e-9)


def _with_value_explained(means: Metrics) -> Metrics:
    """Replaces the mean squared target by `value_explained` = 1 - Var[target - V] / Var[target].

    The variances are over all targets since the last line, not means over rollouts. The result is 1 for perfect values,
    0 for constant ones, and negative for worse ones. It is None if the targets do not vary.
    """
    if not means.keys() >= {metrics.VALUE_LOSS, metrics.VALUE_MEAN, metrics.TARGET_MEAN, metrics.TARGET_SQUARE}:
        return means
    mean, square = means[metrics.TARGET_MEAN], means.pop(metrics.TARGET_SQUARE)
    variance = square - mean**2
    unexplained = means[metrics.VALUE_LOSS] - (mean - means[metrics.VALUE_MEAN]) ** 2
    explained = 1 - unexplained / variance if variance > ROUNDING * square else None
    return means | {metrics.VALUE_EXPLAINED: explained}


def _shares(report: Report) -> Metrics:
    worked = sum(report.seconds.values())
    return {f"{metrics.SHARE}{phase}": round(part / worked, 3) for phase, part in report.seconds.items() if worked}
