"""What a run's folder tells of its course, as rules of diagnosis read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.presets import default_preset, find_preset
from asyncrl.run_folder import RunFolder

EPISODES_APART = 100
"""`return_mean` is over the last 100 episodes: values that many episodes apart have none in common."""
MOST_SAMPLES = 40
"""Of a long run, about; each is then a mean of several."""
FEW_SAMPLES = 4.0
"""Of N values, the noise is taken as 1 + 4/N times its estimate, which of few is often far too small. Of flat curves
with 8 values, 1.0 % instead of 2.8 % then seem to collapse (simulated); with 20 values, 0.3 % instead of 0.8 %."""
COUNTS = ("steps", "frames", "wall_seconds", "updates", "episodes")
"""Numbers that each line of metrics has."""
FEWEST_UPDATES = 200
"""Before these nothing can be asked of values and gradients."""


@dataclass(frozen=True)
class Series:
    """One metric over a run; lines that lack it, or hold what is not finite, are left out."""

    steps: NDArray[np.float64]  # [N]
    values: NDArray[np.float64]  # [N]
    end: float  # steps of the whole run so far

    def part(self, begin: float, end: float) -> NDArray[np.float64]:
        """The values between two shares of the run, each in [0, 1]."""
        return self.values[(self.steps >= begin * self.end) & (self.steps <= end * self.end)]

    def median(self, begin: float, end: float) -> float:
        """The median between two shares of the run; NaN if there is nothing."""
        part = self.part(begin, end)
        return float(np.median(part)) if len(part) else float("nan")


@dataclass(frozen=True)
class Returns:
    """Mean returns that are independent of each other: each over at least a hundred episodes of its own."""

    steps: NDArray[np.float64]  # [N], at the end of each
    values: NDArray[np.float64]  # [N]

    @property
    def noise(self) -> float:
        """Standard deviation of one value about the curve, whose steady rise and single leaps do not count."""
        if len(self.values) < 3:
            return 0.0
        changes = np.diff(self.values)
        scatter = 1.4826 * np.median(np.abs(changes - np.median(changes))) / np.sqrt(2)  # 1.4826: of a Gaussian
        return float(scatter * (1 + FEW_SAMPLES / len(self.values)))

    @property
    def trend(self) -> float:
        """Rank correlation of the values with time, in [-1, 1]."""
        ranks = self.values.argsort().argsort()
        return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) if len(ranks) > 1 else 0.0

    def quarter(self, number: int) -> NDArray[np.float64]:
        """The values of a quarter of the run's episodes, 0 to 3."""
        return np.array_split(self.values, 4)[number]


@dataclass(frozen=True)
class History:
    """Settings, metrics and end of a run."""

    run: RunFolder
    settings: Mapping[str, Any]  # as saved: nothing is imported
    lines: Sequence[Mapping[str, Any]]  # of metrics.jsonl, at least one
    summary: Mapping[str, Any] | None

    @property
    def last(self) -> Mapping[str, Any]:
        """The last line of metrics."""
        return self.lines[-1]

    @property
    def steps(self) -> int:
        """Done so far."""
        return int(self.last["steps"])

    @property
    def has_learned(self) -> bool:
        """Whether there were enough updates to judge what they did."""
        return int(self.last["updates"]) >= FEWEST_UPDATES

    @property
    def planned_steps(self) -> int:
        """Of the whole run."""
        return int(self.number("steps", self.steps))

    @property
    def share(self) -> float:
        """Of the planned steps, done so far."""
        return self.steps / max(self.planned_steps, 1)

    @cached_property
    def continuous(self) -> bool:
        """Whether actions are, by the policy's parameters in a checkpoint; without one, by the sign of its entropy."""
        for file in sorted(self.run.checkpoints.glob("*/tensors.safetensors")):
            with suppress(OSError, SafetensorError), safe_open(file, "np") as tensors:
                names: list[str] = tensors.keys()
                return any(name.startswith("parameters/heads.policy.variance.") for name in names)
        return bool((self.series("entropy").values <= 0).any())

    def setting(self, name: str) -> Any:
        """A setting by its own name, or None if this run has no such setting."""
        try:
            return setting(self.settings, name)
        except UserError:
            return None

    def count(self, name: str) -> int:
        """A number of the last line of metrics, 0 if it is not there."""
        return int(self.last[name]) if is_number(self.last.get(name)) else 0

    def number(self, name: str, default: float) -> float:
        """A setting that is a number, or the default if it is None or this run has no such setting.

        Raises:
            UserError: It is something else.
        """
        value = self.setting(name)
        if value is None:
            return default
        if not is_number(value):
            raise UserError(f"{self.run.experiment_file}: {name} is {value!r}, which is no number")
        return float(value)

    def series(self, name: str) -> Series:
        """One metric over the run."""
        points = [(line["steps"], line[name]) for line in self.lines if is_number(line.get(name))]
        array = np.array(points, float).reshape(-1, 2)
        return Series(array[:, 0], array[:, 1], float(self.steps))

    @cached_property
    def returns(self) -> Returns:
        """Independent mean returns over the run."""
        apart = max(EPISODES_APART, -(-int(self.last["episodes"]) // MOST_SAMPLES))
        groups: dict[int, list[Mapping[str, Any]]] = {}
        seen = 0
        for line in self.lines:
            if is_number(line["return_mean"]) and line["episodes"] >= seen + EPISODES_APART:
                seen = line["episodes"]
                groups.setdefault(int(seen // apart), []).append(line)
        return Returns(
            np.array([group[-1]["steps"] for group in groups.values()], float),
            np.array([np.mean([line["return_mean"] for line in group]) for group in groups.values()], float),
        )

    @cached_property
    def goal(self) -> float | None:
        """The mean return at which the environment counts as solved: the run's own goal, else its preset's."""
        if self.setting("until_return") is not None:
            return self.number("until_return", 0.0)
        environment, algorithm = str(self.setting("environment")).rpartition(":")[2], self.setting("algorithm")
        try:
            preset = find_preset(str(self.setting("preset") or default_preset(environment).name))
        except UserError:
            return None
        return preset.settings(environment, algorithm).until_return

    @property
    def solved(self) -> bool:
        """Whether the mean return reached the goal at some time."""
        if (self.summary or {}).get("ended_by") == "goal":
            return True
        return self.goal is not None and bool((self.series("return_mean").values >= self.goal).any())


def read_history(run: RunFolder) -> History | None:
    """The history of a run, or None if it has written no metrics yet.

    Raises:
        UserError: The folder is damaged.
    """
    settings, lines, summary = run.read_settings(), read_lines(run), run.read_summary()
    if summary is not None and not isinstance(summary, dict):
        raise UserError(f"{run.summary_file} holds no summary: take it away")
    return History(run, settings, lines, summary) if lines else None


def read_lines(run: RunFolder) -> list[dict[str, Any]]:
    """A run's lines of metrics, each with at least what every run writes.

    Raises:
        UserError: The file is missing or damaged.
    """
    lines = run.read_metrics()
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict) or "return_mean" not in line or not all(is_number(line.get(n)) for n in COUNTS):
            raise UserError(f"{run.metrics_file}: line {number} is no line of metrics: take it out")
    return lines


def is_number(value: object) -> bool:
    """Whether a metric is there and finite."""
    return isinstance(value, int | float) and math.isfinite(value)
