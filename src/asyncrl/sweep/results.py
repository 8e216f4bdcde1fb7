"""The results of a sweep: of each run, and of all seeds of a combination together."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from asyncrl import metrics
from asyncrl.run_folder import RunFolder
from asyncrl.sweep.specification import Sweep, Trial

RESULTS = "results.csv"


@dataclass(frozen=True)
class Result:
    """The result of one trial that is done."""

    trial: Trial
    score: float | None  # mean return in evaluation; without evaluation, of the last 100 training episodes
    return_mean: float | None
    best_return_mean: float | None
    ended_by: str
    steps_done: int
    seconds: float  # of training

    @property
    def row(self) -> dict[str, Any]:
        """The settings and the result in one row."""
        outcome = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "trial"}
        return {**self.trial.settings, "seed": self.trial.seed, **outcome}


@dataclass(frozen=True)
class Summary:
    """The results of all trials of one combination of the grid: medians over runs, except for the score."""

    settings: dict[str, str]
    runs: int
    score: float  # interquartile mean
    low: float  # lower end of the score's 95 % interval
    high: float  # upper end
    goals: int  # number of runs that reached --until-return
    steps_done: float
    seconds: float


def done_runs(folder: Path, sweep: Sweep) -> list[tuple[Trial, RunFolder]]:
    """The trials that are done, and their runs."""
    planned = [(trial, trial.plan(folder, sweep)) for trial in sweep.trials()]
    return [(trial, run.run) for trial, run in planned if run.is_done]


def write_results(folder: Path, sweep: Sweep) -> list[Result]:
    """Writes one row for each trial that is done to `results.csv`, and returns the results."""
    results = []
    for trial, run in done_runs(folder, sweep):
        summary, evaluation = run.read_summary() or {}, run.read_evaluation() if sweep.episodes else None
        results.append(
            Result(
                trial,
                score=(summary if evaluation is None else evaluation)[metrics.RETURN_MEAN],
                return_mean=summary[metrics.RETURN_MEAN],
                best_return_mean=summary[metrics.BEST_RETURN_MEAN],
                ended_by=summary["ended_by"],
                steps_done=summary[metrics.STEPS],
                seconds=summary[metrics.WALL_SECONDS],
            )
        )
    if results:
        staging = folder / f".{RESULTS}"
        with staging.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(results[0].row))
            writer.writeheader()
            writer.writerows(result.row for result in results)
        staging.replace(folder / RESULTS)
    return results


def summarise(results: Sequence[Result], grid: Sequence[str]) -> list[Summary]:
    """Summarises the results of each combination of the grid."""
    from asyncrl.analysis.statistics import bootstrap_interval, interquartile_mean

    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result.trial.settings[name] for name in grid), []).append(result)
    summaries = []
    for values, members in groups.items():
        scores = [result.score for result in members if result.score is not None] or [math.nan]
        low, high = bootstrap_interval(scores)
        summaries.append(
            Summary(
                settings=dict(zip(grid, values, strict=True)),
                runs=len(members),
                score=float(interquartile_mean(scores)),
                low=float(low),
                high=float(high),
                goals=sum(result.ended_by == "goal" for result in members),
                steps_done=median(result.steps_done for result in members),
                seconds=median(result.seconds for result in members),
            )
        )
    return summaries
