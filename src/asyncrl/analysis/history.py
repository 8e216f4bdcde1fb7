"""The history of a run, read from its folder for the rules of `asyncrl doctor`."""

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

from asyncrl import metrics
from asyncrl.analysis.goals import known_goal, unrewarded_return
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.metrics import WINDOW
from asyncrl.presets import default_preset, named_preset
from asyncrl.run_folder import RunFolder

MOST_SAMPLES = 40
"""Approximate number of independent mean returns of a long run; each is then a mean of several lines."""
FEW_SAMPLES = 4.0
"""The estimated noise of N values is multiplied by 1 + 4/N, because estimates from few values are often far too small.
In simulations of flat curves this reduces false alarms of a collapse: from 2.8 % to 1.0 % with 8 values, and from 0.8 %
to 0.3 % with 20 values."""
COUNTS = (metrics.STEPS, metrics.FRAMES, metrics.WALL_SECONDS, metrics.UPDATES, metrics.EPISODES)
"""Metrics that every line has."""
RANDOM = 0.99
"""A policy with at least this share of its first entropy is still random; learning lowers it by a tenth or more."""
HALF = 0.5
"""What holds at present is judged by the median since this share of the run."""
FEWEST_UPDATES = 200
"""Values and gradients are not judged before this many updates."""


@dataclass(frozen=True)
class Series:
    """One metric over a run, from the lines in which it is finite."""

    steps: NDArray[np.float64]  # [N]
    values: NDArray[np.float64]  # [N]
    end: float  # steps of the whole run so far

    def part(self, begin: float, end: float) -> NDArray[np.float64]:
        """The values between two points of the run, given as shares of its steps in [0, 1]."""
        return self.values[(self.steps >= begin * self.end) & (self.steps <= end * self.end)]

    def median(self, begin: float, end: float) -> float:
        """The median between two points of the run, as in `part`; NaN if there are no values."""
        part = self.part(begin, end)
        return float(np.median(part)) if len(part) else float("nan")


@dataclass(frozen=True)
class Returns:
    """Independent mean returns: no two of them have an episode in common."""

    steps: NDArray[np.float64]  # [N], at the last episode of each
    values: NDArray[np.float64]  # [N]
    errors: NDArray[np.float64]  # [N], standard error of each from the returns of its episodes; 0 if not recorded

    @property
    def uncertainty(self) -> NDArray[np.float64]:
        """Standard deviation of each value [N], as the curve or the returns of its episodes show it.

        Where nearly all episodes fail, most values are equal and the curve looks free of noise. The returns within a
        value show that a single success has raised it.
        """
        return np.maximum(self.noise, self.errors)

    @property
    def noise(self) -> float:
        """Standard deviation of one value about the curve; steady rises and single jumps do not count as noise."""
        if len(self.values) < 3:
            return 0.0
        changes = np.diff(self.values)
        scatter = 1.4826 * np.median(np.abs(changes - np.median(changes))) / np.sqrt(2)  # 1.4826 × MAD: σ of a Gaussian
        return float(scatter * (1 + FEW_SAMPLES / len(self.values)))

    @property
    def trend(self) -> float:
        """Rank correlation of the values with time, in [-1, 1]."""
        ranks = np.unique(self.values, return_inverse=True)[1]  # equal values have equal ranks
        return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) if ranks.any() else 0.0

    def quarter(self, number: int) -> NDArray[np.float64]:
        """The values of one quarter of the run, numbered 0 to 3."""
        return np.array_split(self.values, 4)[number]


@dataclass(frozen=True)
class History:
    """The settings, metrics and summary of a run."""

    run: RunFolder
    settings: Mapping[str, Any]  # as saved; no module of the user is imported
    lines: Sequence[Mapping[str, Any]]  # of metrics.jsonl, at least one
    summary: Mapping[str, Any] | None

    @property
    def last(self) -> Mapping[str, Any]:
        """The last line of metrics."""
        return self.lines[-1]

    @property
    def steps(self) -> int:
        """Steps done so far."""
        return int(self.last[metrics.STEPS])

    @property
    def has_learned(self) -> bool:
        """Whether there were enough updates to judge values and gradients."""
        return int(self.last[metrics.UPDATES]) >= FEWEST_UPDATES

    @property
    def planned_steps(self) -> int:
        """Steps of the whole run, from its settings."""
        return int(self.number("steps", self.steps))

    @property
    def share(self) -> float:
        """Share of the planned steps that is done."""
        return self.steps / max(self.planned_steps, 1)

    @cached_property
    def continuous(self) -> bool:
        """Whether actions are continuous, judged by the parameters in a checkpoint.

        Without a readable checkpoint, a negative entropy decides: only densities can have one.
        """
        for file in sorted(self.run.checkpoints.glob("*/tensors.safetensors")):
            with suppress(OSError, SafetensorError), safe_open(file, "np") as tensors:
                names: list[str] = tensors.keys()
                return any(name.startswith("parameters/heads.policy.variance.") for name in names)
        return bool((self.series(metrics.ENTROPY).values <= 0).any())

    def setting(self, name: str) -> Any:
        """A setting by its own name, or None if this run has no such setting."""
        try:
            return setting(self.settings, name)
        except UserError:
            return None

    def count(self, name: str) -> int:
        """A metric of the last line as a whole number; 0 if it is missing."""
        return int(self.last[name]) if metrics.is_number(self.last.get(name)) else 0

    def number(self, name: str, default: float) -> float:
        """A setting that is a number; the default if it is None or this run has no such setting.

        Raises:
            UserError: The setting is not a number.
        """
        value = self.setting(name)
        if value is None:
            return default
        if not metrics.is_number(value):
            raise UserError(f"{self.run.experiment_file}: {name} is {value!r}, which is not a number")
        return float(value)

    def series(self, name: str) -> Series:
        """One metric over the run."""
        points = [(line[metrics.STEPS], line[name]) for line in self.lines if metrics.is_number(line.get(name))]
        array = np.array(points, float).reshape(-1, 2)
        return Series(array[:, 0], array[:, 1], float(self.steps))

    @cached_property
    def returns(self) -> Returns:
        """Independent mean returns over the run, from lines that are at least `metrics.WINDOW` episodes apart."""
        apart = max(WINDOW, -(-int(self.last[metrics.EPISODES]) // MOST_SAMPLES))
        groups: dict[int, list[Mapping[str, Any]]] = {}
        seen = 0
        for line in self.lines:
            if metrics.is_number(line[metrics.RETURN_MEAN]) and line[metrics.EPISODES] >= seen + WINDOW:
                seen = line[metrics.EPISODES]
                groups.setdefault(int(seen // apart), []).append(line)
        return Returns(
            np.array([group[-1][metrics.STEPS] for group in groups.values()], float),
            np.array([np.mean([line[metrics.RETURN_MEAN] for line in group]) for group in groups.values()], float),
            np.array([_standard_error(group) for group in groups.values()], float),
        )

    @property
    def best_return_mean(self) -> float:
        """The highest mean return of `metrics.WINDOW` training episodes; -inf before there are as many."""
        full = (line[metrics.RETURN_MEAN] for line in self.lines if line[metrics.EPISODES] >= WINDOW)
        return max((value for value in full if metrics.is_number(value)), default=-math.inf)

    @property
    def environment(self) -> str:
        """The environment's id, without the module that registers it."""
        return str(self.setting("environment")).rpartition(":")[2]

    @cached_property
    def goal(self) -> float | None:
        """The mean return at which the environment counts as solved.

        It is the run's own goal, or else that of its preset, or else what is known of the environment.
        """
        if self.setting("until_return") is not None:
            return self.number("until_return", 0.0)
        try:
            preset = named_preset(str(self.setting("preset") or default_preset(self.environment).name))
        except UserError:
            return known_goal(self.environment)
        goal = preset.settings(self.environment, self.setting("algorithm")).until_return
        return known_goal(self.environment) if goal is None else goal

    @property
    def unrewarded(self) -> float | None:
        """The highest return of an episode in which the agent achieved nothing; None if that is not known."""
        return unrewarded_return(self.environment)

    @property
    def solved(self) -> bool:
        """Whether the run ended at its goal, or a mean return of training or evaluation reached the goal at some time.

        Means of fewer than `metrics.WINDOW` training episodes do not count.
        """
        if (self.summary or {}).get("ended_by") == "goal":
            return True
        if self.goal is None:
            return False
        evaluated = self.series(metrics.EVALUATION_RETURN_MEAN).values
        return self.best_return_mean >= self.goal or bool((evaluated >= self.goal).any())

    @property
    def is_random(self) -> bool:
        """Whether the policy is as random as at the start; False if the run has no entropy."""
        entropy = self.series(metrics.ENTROPY)
        if not (entropy.values[:1] > 0).any():
            return False
        first = float(entropy.values[0])
        return abs(entropy.median(HALF, 1.0) - first) <= (1 - RANDOM) * first


def read_history(run: RunFolder) -> History | None:
    """Reads the history of a run; None if it has written no metrics yet.

    Raises:
        UserError: The folder is damaged.
    """
    settings, lines, summary = run.read_settings(), read_lines(run), run.read_summary()
    if summary is not None and not isinstance(summary, dict):
        raise UserError(f"{run.summary_file} is damaged: delete it")
    return History(run, settings, lines, summary) if lines else None


def read_lines(run: RunFolder) -> list[dict[str, Any]]:
    """Reads the lines of metrics of a run, and makes sure that each has the metrics every line must have.

    Raises:
        UserError: The file is missing or damaged.
    """
    lines = run.read_metrics()
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict) or metrics.RETURN_MEAN not in line or not _has_counts(line):
            raise UserError(f"{run.metrics_file}: line {number} is not a line of metrics: delete it")
    return lines


def _has_counts(line: Mapping[str, Any]) -> bool:
    return all(metrics.is_number(line.get(name)) for name in COUNTS)


def _standard_error(group: Sequence[Mapping[str, Any]]) -> float:
    """Standard error of the mean over the episodes of some lines, which have no episode in common."""
    deviations = [line[metrics.RETURN_STD] for line in group if metrics.is_number(line.get(metrics.RETURN_STD))]
    return float(np.sqrt(np.mean(np.square(deviations)) / (WINDOW * len(deviations)))) if deviations else 0.0
