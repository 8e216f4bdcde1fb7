"""From workers' reports to lines of metrics."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from asyncrl.runtime.shared import Counts
from asyncrl.types import Report

Metrics = dict[str, Any]
"""One line of metrics.jsonl: plain numbers, None where there is none yet."""

EPISODES = 100
"""`return_mean` is over this many latest training episodes."""
ROUNDING = 1e-10
"""Variances smaller than this beside the mean square are nothing but rounding of single-precision targets."""
SPEED_WINDOW = 10.0
"""Seconds over which `steps_per_second` is measured."""


@dataclass(frozen=True)
class TelemetryState:
    """What a later session needs to go on counting, as plain data."""

    episodes: int = 0
    best_return_mean: float | None = None
    recent_episodes: list[tuple[float, float]] = field(default_factory=list)  # return and length, oldest first
    wall_seconds: float = 0.0
    restarts: int = 0
    dropped_updates: int = 0


class Telemetry:
    """Adds up what workers report; one line of metrics at a time comes out.

    Args:
        frames_per_step: Emulator frames per agent decision.
        steps: That the run has done before.
        state: What `state()` returned when the run was last saved, for one that is resumed.
    """

    def __init__(self, frames_per_step: int, steps: int = 0, state: TelemetryState | None = None) -> None:
        state = state or TelemetryState()
        self.frames_per_step = frames_per_step
        self.reported = state.episodes  # episodes that reports told of
        self.best_return_mean = state.best_return_mean
        self.recent: deque[tuple[float, float]] = deque(state.recent_episodes, EPISODES)
        self.total = sum(episode[0] for episode in self.recent)  # of the recent returns
        self.seconds_before = state.wall_seconds
        self.restarts, self.dropped_updates = state.restarts, state.dropped_updates
        self.started = time.monotonic()
        self.speed: deque[tuple[float, int]] = deque([(self.started, steps)])  # seconds, steps
        self.pending = Report(worker=-1)  # statistics since the last line
        self.seconds = Report(worker=-1)  # of workers' phases, in this session

    def add(self, report: Report) -> None:
        """Takes in what a worker did."""
        self.pending += Report(report.worker, report.updates, (), report.totals, report.seconds)
        self.seconds += Report(report.worker, seconds=report.seconds)
        self.dropped_updates += report.dropped
        for episode in report.episodes:
            self.reported += 1
            self.total += episode.total_reward - (self.recent[0][0] if len(self.recent) == EPISODES else 0.0)
            self.recent.append((episode.total_reward, episode.length))
            if self.reported % EPISODES == 0:
                self.total = sum(episode[0] for episode in self.recent)  # forgets what rounding left
            if len(self.recent) == EPISODES:
                mean = self.total / EPISODES
                if self.best_return_mean is None or mean > self.best_return_mean:
                    self.best_return_mean = mean

    @property
    def wall_seconds(self) -> float:
        """Seconds of training, over all sessions of the run."""
        return self.seconds_before + time.monotonic() - self.started

    def reached(self, until_return: float | None) -> bool:
        """Whether the mean return of the last 100 episodes has reached a goal."""
        mean = self.return_mean
        return until_return is not None and mean is not None and mean >= until_return

    @property
    def return_mean(self) -> float | None:
        """Of the last 100 training episodes; None before there are so many."""
        return self._mean(0) if len(self.recent) == EPISODES else None

    def shares(self) -> Metrics:
        """Where workers' time went in this session, by phase."""
        return _shares(self.seconds)

    def state(self, episodes: int) -> TelemetryState:
        """What a later session needs to go on counting, with the number of all episodes so far."""
        return TelemetryState(
            episodes,
            self.best_return_mean,
            list(self.recent),
            self.wall_seconds,
            self.restarts,
            self.dropped_updates,
        )

    def line(self, counts: Counts, learning_rate: float, workers: int) -> Metrics:
        """Metrics at this moment, with the mean of each statistic since the last line.

        Args:
            counts: Of all workers.
            learning_rate: At present.
            workers: That are at work.
        """
        count = max(1, self.pending.updates)
        means = {name: total / count for name, total in self.pending.totals.items()}
        shares = _shares(self.pending)
        self.pending = Report(worker=-1)
        return {
            "wall_seconds": round(self.wall_seconds, 3),
            "steps": counts.steps,
            "frames": counts.steps * self.frames_per_step,
            "updates": counts.updates,
            "episodes": counts.episodes,
            "return_mean": self._mean(0),
            "length_mean": self._mean(1),
            "steps_per_second": round(self._steps_per_second(counts.steps), 1),
            "learning_rate": learning_rate,
            "workers": workers,
            "restarts": self.restarts,
            "dropped_updates": self.dropped_updates,
            **_with_value_explained(means),
            **shares,  # of workers' time, by phase
        }

    def _mean(self, column: int) -> float | None:
        values = [episode[column] for episode in self.recent]
        return sum(values) / len(values) if values else None

    def _steps_per_second(self, steps: int) -> float:
        now = time.monotonic()
        self.speed.append((now, steps))
        while len(self.speed) > 2 and now - self.speed[1][0] >= SPEED_WINDOW:
            self.speed.popleft()
        then, before = self.speed[0]
        return (steps - before) / max(now - then, 1e-9)


def _with_value_explained(means: Metrics) -> Metrics:
    """The statistics with `value_explained` = 1 - Var[target - V] / Var[target] in the place of the targets' squares.

    The variances are over all targets since the last line, not means of what each rollout has. It is 1 for perfect
    values, 0 for constant ones, negative for worse; None where the targets do not vary.
    """
    if not means.keys() >= {"value_loss", "value_mean", "target_mean", "target_square"}:
        return means
    mean, square = means["target_mean"], means.pop("target_square")
    variance = square - mean**2
    unexplained = means["value_loss"] - (mean - means["value_mean"]) ** 2
    return means | {"value_explained": 1 - unexplained / variance if variance > ROUNDING * square else None}


def _shares(report: Report) -> Metrics:
    worked = sum(report.seconds.values())
    return {f"share_{phase}": round(part / worked, 3) for phase, part in report.seconds.items() if worked}
