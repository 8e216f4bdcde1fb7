"""Pictures of runs: learning curves, groups of runs against each other, scores against a setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from asyncrl.analysis.statistics import bootstrap_interval, interquartile_mean
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder

X_LABELS = {"steps": "steps", "frames": "frames", "wall_seconds": "wall-clock seconds"}
COLOURS = ("#2a6fbb", "#d9622b", "#2e8b57", "#8e5bb5", "#c23b58", "#7a6a53", "#3aa6a6", "#9a9a2e")
MOST_LABELS = 16
"""A legend of more would hide the picture."""
RETURN = "mean return of the last 100 episodes"
POINTS = 200
"""Of a curve over several runs."""

Groups = Mapping[str, Sequence[RunFolder]]
"""Runs by what they have in common."""


def plot_runs(runs: Sequence[RunFolder], output: Path, x: str = "steps") -> None:
    """Draws the mean return of the last 100 training episodes of each run.

    Args:
        runs: Run folders, one line each.
        output: Picture file; its ending chooses the format (png, svg, pdf).
        x: steps, frames or wall_seconds.

    Raises:
        UserError: A run has no metrics, or the picture cannot be written.
    """
    with _picture(output, runs, X_LABELS[x], RETURN, legend=1 < len(runs) <= MOST_LABELS) as axes:
        for number, run in enumerate(runs):
            horizontal, returns = _curve(run, x)
            axes.plot(
                horizontal,
                returns,
                color=_colour(number),
                linewidth=1.8,
                marker="o" if len(returns) < 3 else None,
                label=run.path.name,
            )
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def plot_groups(groups: Groups, output: Path, x: str = "steps") -> None:
    """Draws one curve for each group: the interquartile mean over its runs, with a 95 % bootstrap interval.

    A run that reached its goal and ended counts with its last return from there on.

    Raises:
        UserError: A run has no metrics, or the picture cannot be written.
    """
    with _picture(output, _all(groups), X_LABELS[x], RETURN, legend=len(groups) <= MOST_LABELS) as axes:
        for number, (name, runs) in enumerate(groups.items()):
            curves = [curve for curve in (_curve(run, x) for run in runs) if len(curve[0])]
            if not curves:
                continue
            start = max(horizontal[0] for horizontal, _ in curves)
            grid = np.linspace(start, max(horizontal[-1] for horizontal, _ in curves), POINTS)
            returns = np.stack([np.interp(grid, horizontal, values) for horizontal, values in curves])
            low, high = bootstrap_interval(returns)
            label = f"{name} ({len(curves)} run{'s' if len(curves) > 1 else ''})"
            axes.plot(grid, interquartile_mean(returns), color=_colour(number), linewidth=1.8, label=label)
            axes.fill_between(grid, low, high, color=_colour(number), alpha=0.15, linewidth=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def plot_scores(groups: Groups, output: Path, name: str) -> None:
    """Draws each run's score over one of its settings, such as the learning rate (Mnih et al. 2016, figure 2).

    Raises:
        UserError: A run has no such setting, or the picture cannot be written.
    """
    runs = _all(groups)
    values = [setting(run.read_settings(), name) for run in runs]
    numeric = all(isinstance(value, int | float) for value in values)
    with _picture(output, runs, name.replace("_", " "), "score", legend=1 < len(groups) <= MOST_LABELS) as axes:
        for number, (label, members) in enumerate(groups.items()):
            scores = _scores(members)
            horizontal = [setting(run.read_settings(), name) for run in scores]
            places = horizontal if numeric else [str(value) for value in horizontal]
            axes.scatter(places, list(scores.values()), color=_colour(number), alpha=0.8, s=24, label=label, zorder=2)
        if numeric and min(values) > 0 and max(values) / min(values) > 20:
            axes.set_xscale("log")


def plot_sorted(groups: Groups, output: Path) -> None:
    """Draws each group's scores from the best to the worst (Mnih et al. 2016, figure S5): flat is robust.

    Raises:
        UserError: The picture cannot be written.
    """
    with _picture(output, _all(groups), "runs, the best first", "score", legend=len(groups) <= MOST_LABELS) as axes:
        for number, (name, runs) in enumerate(groups.items()):
            scores = sorted(_scores(runs).values(), reverse=True)
            axes.plot(range(1, len(scores) + 1), scores, color=_colour(number), marker="o", markersize=3.5, label=name)


def group_runs(runs: Sequence[RunFolder], names: Sequence[str]) -> dict[str, list[RunFolder]]:
    """The runs by the values of some of their settings.

    Raises:
        UserError: A run has no such setting.
    """
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        settings = run.read_settings()
        groups.setdefault(", ".join(str(setting(settings, name)) for name in names), []).append(run)
    return groups


def score(run: RunFolder) -> float | None:
    """What a run reached: its evaluation if it has one, else the mean return of its last 100 training episodes.

    None if it has neither.
    """
    evaluation = run.read_evaluation()
    if evaluation is not None:
        return float(evaluation["return_mean"])
    _, returns = _curve(run, "steps")
    return float(returns[-1]) if len(returns) else None


def _scores(runs: Sequence[RunFolder]) -> dict[RunFolder, float]:
    scores = {run: score(run) for run in runs}
    return {run: value for run, value in scores.items() if value is not None}


def _curve(run: RunFolder, x: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lines = [line for line in run.read_metrics() if line["return_mean"] is not None]
    return np.array([line[x] for line in lines], float), np.array([line["return_mean"] for line in lines], float)


def _all(groups: Groups) -> list[RunFolder]:
    return [run for runs in groups.values() for run in runs]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


@contextmanager
def _picture(output: Path, runs: Sequence[RunFolder], x_label: str, y_label: str, legend: bool) -> Iterator[Axes]:
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes: Any = figure.add_subplot()
    yield axes
    axes.set_title(", ".join(sorted({str(setting(run.read_settings(), "environment")) for run in runs})))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, fontsize="small")
    write_picture(figure, output)


def write_picture(figure: Figure, output: Path) -> None:
    """Saves a figure.

    Raises:
        UserError: The file cannot be written, or its ending names no format.
    """
    try:
        figure.savefig(output)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {output}: {getattr(error, 'strerror', None) or error}") from error
