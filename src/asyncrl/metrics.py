"""The table of metrics: the numbers that a run writes over time, what they are called and how they are shown.

Everything that writes or shows metrics reads this table: telemetry, the terminal, `metrics.jsonl`, TensorBoard,
trackers, pages, plots and `asyncrl doctor`. No other module spells a metric's name. Statistics that your own algorithm
puts into `Loss.statistics` need no row: `lookup` describes them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WINDOW = 100
"""Number of latest training episodes over which `return_mean`, `return_std` and `length_mean` are computed."""

# counters
STEPS = "steps"
FRAMES = "frames"
WALL_SECONDS = "wall_seconds"
UPDATES = "updates"
EPISODES = "episodes"
WORKERS = "workers"
RESTARTS = "restarts"
DROPPED_UPDATES = "dropped_updates"
# training episodes
RETURN_MEAN = "return_mean"
RETURN_STD = "return_std"
BEST_RETURN_MEAN = "best_return_mean"
LENGTH_MEAN = "length_mean"
# speed
STEPS_PER_SECOND = "steps_per_second"
SHARE = "share_"
"""Prefix of the metrics that say which fraction of their time workers spend in a phase, such as `share_learn`."""
# learning
LEARNING_RATE = "learning_rate"
GRADIENT_NORM = "gradient_norm"
ENTROPY = "entropy"
POLICY_LOSS = "policy_loss"
VALUE_LOSS = "value_loss"
VALUE_MEAN = "value_mean"
VALUE_EXPLAINED = "value_explained"
TARGET_MEAN = "target_mean"
TARGET_SQUARE = "target_square"
PRIORITY_UNEVENNESS = "priority_unevenness"
STATES_SEEN = "states_seen"
STALENESS = "staleness"
# evaluations beside the training
EVALUATION_RETURN_MEAN = "evaluation_return_mean"
EVALUATION_STEPS = "evaluation_steps"


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    name: str  # key in metrics.jsonl and summary.json
    group: str  # heading in TensorBoard and trackers
    title: str  # heading of its curve
    unit: str = ""
    terminal: str = ""  # word before its value in the terminal; metrics without one are not shown there
    is_curve: bool = False  # pages draw it over steps
    is_axis: bool = False  # plots may have it as their horizontal axis
    log: bool = False  # its axis may be logarithmic

    @property
    def label(self) -> str:
        """The title with the unit, for an axis or above a curve."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def path(self) -> str:
        """The name with its group, such as `episodes/return_mean`."""
        return f"{self.group}/{self.name}"


_ROWS = (
    Metric(RETURN_MEAN, "episodes", f"mean return of the last {WINDOW} episodes", terminal="return", is_curve=True),
    Metric(RETURN_STD, "episodes", f"standard deviation of the returns of the last {WINDOW} episodes"),
    Metric(BEST_RETURN_MEAN, "episodes", f"best mean return of {WINDOW} episodes"),  # in summary.json only
    Metric(STEPS_PER_SECOND, "speed", "steps per second", is_curve=True),
    Metric(LENGTH_MEAN, "episodes", f"mean length of the last {WINDOW} episodes", "steps", is_curve=True),
    Metric(ENTROPY, "learning", "policy entropy", "nats", terminal="entropy", is_curve=True),
    Metric(POLICY_LOSS, "learning", "policy loss"),
    Metric(VALUE_MEAN, "learning", "mean value of the visited states", "scaled rewards", is_curve=True),
    Metric(VALUE_EXPLAINED, "learning", "variance of the returns explained by the values", is_curve=True),
    Metric(VALUE_LOSS, "learning", "value loss (squared error)", is_curve=True, log=True),
    Metric(TARGET_MEAN, "learning", "mean value target"),
    Metric(TARGET_SQUARE, "learning", "mean squared value target"),  # telemetry makes `value_explained` of it
    Metric(GRADIENT_NORM, "learning", "gradient norm", is_curve=True, log=True),
    Metric(PRIORITY_UNEVENNESS, "learning", "how unevenly priorities draw (1: all alike)", is_curve=True, log=True),
    Metric(STATES_SEEN, "learning", "different states seen, by their hashes", is_curve=True),
    Metric(STALENESS, "learning", "pushes of other nodes that a node's push had not seen", is_curve=True),
    Metric(LEARNING_RATE, "learning", "learning rate", is_curve=True),
    Metric(DROPPED_UPDATES, "learning", "updates dropped: not finite, outliers, too stale or lost"),
    Metric(STEPS, "speed", "steps", is_axis=True),
    Metric(FRAMES, "speed", "frames", is_axis=True),
    Metric(WALL_SECONDS, "speed", "wall-clock time", "seconds", is_axis=True),
    Metric(UPDATES, "speed", "updates"),
    Metric(EPISODES, "episodes", "episodes"),
    Metric(WORKERS, "speed", "workers"),
    Metric(RESTARTS, "speed", "workers that were replaced"),
    Metric(EVALUATION_RETURN_MEAN, "evaluation", "mean return in evaluation"),
    Metric(EVALUATION_STEPS, "evaluation", "steps of the evaluated agent"),
)
METRICS = {metric.name: metric for metric in _ROWS}
"""The table by name. Pages draw curves in this order."""


def lookup(name: str) -> Metric:
    """The row of a metric. A statistic that a user's own algorithm adds gets a default row."""
    if name in METRICS:
        return METRICS[name]
    if name.startswith(SHARE):
        return Metric(name, "speed", f"share of the workers' time: {name.removeprefix(SHARE)}")
    return Metric(name, "learning", name.replace("_", " "), is_curve=True)


def shares(line: Mapping[str, Any]) -> dict[str, float]:
    """The fraction of the workers' time that each phase took, by phase; empty if the line does not say."""
    return {
        name.removeprefix(SHARE): value for name, value in line.items() if name.startswith(SHARE) and is_number(value)
    }


def is_number(value: object) -> bool:
    """Whether a metric has a finite value."""
    return isinstance(value, int | float) and math.isfinite(value)
