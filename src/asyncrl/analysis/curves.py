"""Pictures of runs: learning curves, mean curves of groups of runs, and scores over a setting."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from asyncrl import metrics
from asyncrl.analysis.history import read_lines
from asyncrl.analysis.picture import colour, picture, style
from asyncrl.analysis.statistics import bootstrap_interval, interquartile_mean
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder

X_AXES = tuple(metric.name for metric in metrics.METRICS.values() if metric.is_axis)
"""Metrics that may be the horizontal axis of learning curves."""
UNITS = ((7200.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
"""Units of a time axis: least seconds of the longest run, seconds in the unit, name."""
POINTS = 200
"""Points of a mean curve, or of one part of it."""
NEAR_END = 0.98
"""A run counts as complete from this share of the longest run on, because runs end a few steps apart."""
BAND = "line: mean over runs (interquartile mean of four or more); band: 95 % bootstrap interval"
PARTLY = "dashed: some runs ended before"

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Horizontal positions and the mean returns there, each [N]."""
Groups = Mapping[str, Sequence[RunFolder]]
"""Runs by the name of their group."""


def plot_runs(runs: Sequence[RunFolder], output: Path, x: str = metrics.STEPS) -> None:
    """Draws a learning curve for each run: the mean return of its last 100 training episodes, not smoothed further.

    Args:
        runs: Run folders.
        output: Picture file; its suffix chooses the format (png, svg, pdf).
        x: Horizontal axis, one of `X_AXES`.

    Raises:
        UserError: A run has no metrics, or the picture cannot be written.
    """
    groups = {_unique(run, runs): [run] for run in runs}
    unit, x_label = _axis(runs, x)

    def draw(axes: Axes, panel: Groups, numbers: Mapping[str, int]) -> None:
        for name, (run,) in panel.items():
            horizontal, returns = _curve(run, x, unit)
            marker, ending = "o" if len(returns) < 3 else None, _state([run])
            text = f"{name} ({ending})" if ending else name
            axes.plot(horizontal, returns, marker=marker, label=text, **style(numbers[name]))
        _finish(axes, x)

    _draw(groups, output, x_label, _return_label(), draw)


def plot_groups(groups: Groups, output: Path, x: str = metrics.STEPS) -> None:
    """Draws one curve for each group: the interquartile mean over its runs, with a 95 % bootstrap interval.

    A run that ended because it reached its goal keeps its last return from there on. Where other runs have ended, the
    curve is dashed and shows the remaining runs; it ends where fewer than half of the runs remain.

    Raises:
        UserError: A run has no metrics, or the picture cannot be written.
    """
    unit, x_label = _axis(_all(groups), x)
    notes = [BAND] if any(len(members) > 1 for members in groups.values()) else []
    labels = {name: _group_label(name, runs) for name, runs in groups.items()}

    def draw(axes: Axes, panel: Groups, numbers: Mapping[str, int]) -> None:
        for name, members in panel.items():
            axes.plot([], [], label=labels[name], **style(numbers[name]))
            whole = _mean_curve(axes, members, x, unit, numbers[name], 0.15 if len(panel) < 5 else 0.08)
            if not whole and PARTLY not in notes:
                notes.append(PARTLY)
        _finish(axes, x)

    _draw(groups, output, x_label, _return_label(), draw, notes)


def _mean_curve(axes: Axes, runs: Sequence[RunFolder], x: str, unit: float, number: int, opacity: float) -> bool:
    """Draws the mean curve and interval of a group; returns whether no part of it had to be dashed."""
    found = [(curve, _reached_goal(run)) for run in runs if len((curve := _curve(run, x, unit))[0])]
    if not found:
        return True
    last = max(horizontal[-1] for (horizontal, _), _ in found)
    ends = [last if goal or horizontal[-1] >= NEAR_END * last else horizontal[-1] for (horizontal, _), goal in found]
    marks = sorted({min(last, max(horizontal[0] for (horizontal, _), _ in found)), *ends, last})
    drawn = 0
    for begin, end in pairwise(marks):
        curves = [curve for (curve, _), upto in zip(found, ends, strict=True) if upto >= end]
        if 2 * len(curves) < len(found):
            break
        drawn = len(curves)
        grid = np.linspace(begin, end, POINTS)
        returns = np.stack([np.interp(grid, horizontal, values) for horizontal, values in curves])
        look = style(number) | ({} if drawn == len(found) else {"linestyle": (0, (4, 2))})
        axes.plot(grid, interquartile_mean(returns), **look)
        if drawn > 1:
            low, high = bootstrap_interval(returns)
            axes.fill_between(grid, low, high, color=colour(number), alpha=opacity, linewidth=0)
    if not drawn:  # a single point
        axes.plot([last], [np.mean([values[-1] for (_, values), _ in found])], marker="o", **style(number))
    return drawn in (0, len(found))


def plot_scores(groups: Groups, output: Path, name: str) -> None:
    """Draws the score of each run over one of its settings, such as the learning rate (Mnih et al. 2016, figure 2).

    Raises:
        UserError: A run has no such setting, or the picture cannot be written.
    """
    values = {run: setting(run.read_settings(), name) for run in _all(groups)}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())

    def draw(axes: Axes, panel: Groups, numbers: Mapping[str, int]) -> None:
        for label, members in panel.items():
            scores = _scores(members)
            places = [values[run] if numeric else str(values[run]) for run in scores]
            look: dict[str, Any] = {"color": colour(numbers[label]), "alpha": 0.8, "s": 24, "zorder": 2}
            axes.scatter(places, list(scores.values()), label=label, **look)
        if numeric and min(values.values()) > 0 and max(values.values()) / min(values.values()) > 20:
            axes.set_xscale("log")
        elif numeric:
            whole = all(isinstance(value, int) for value in values.values())
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole))

    _draw(groups, output, name.replace("_", " "), _score_label(groups), draw)


def plot_sorted(groups: Groups, output: Path) -> None:
    """Draws the scores of each group, sorted from best to worst (Mnih et al. 2016, figure S5).

    A flat curve shows a method that is robust to its settings.

    Raises:
        UserError: The picture cannot be written.
    """

    def draw(axes: Axes, panel: Groups, numbers: Mapping[str, int]) -> None:
        for name, runs in panel.items():
            scores = sorted(_scores(runs).values(), reverse=True)
            axes.plot(range(1, len(scores) + 1), scores, marker="o", markersize=3.5, label=name, **style(numbers[name]))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    _draw(groups, output, "runs, best first", _score_label(groups), draw)


def score(run: RunFolder) -> float | None:
    """Score of a run: its mean return in evaluation if it was evaluated, else that of its last 100 training episodes.

    None if it has neither.
    """
    evaluation = run.read_evaluation()
    if evaluation is not None:
        try:
            return float(evaluation[metrics.RETURN_MEAN])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{run.evaluation_file} is damaged: delete it") from error
    _, returns = _curve(run, metrics.STEPS)
    return float(returns[-1]) if len(returns) else None


def _draw(
    groups: Groups,
    output: Path,
    x_label: str,
    y_label: str,
    draw: Callable[[Axes, Groups, Mapping[str, int]], None],
    notes: Sequence[str] = (),
) -> None:
    """Draws one panel for each environment; a group has the same colour in all panels."""
    environments = sorted({_environment(run) for run in _all(groups)})
    numbers = {name: number for number, name in enumerate(groups)}
    with picture(output, environments, x_label, y_label, notes) as panels:
        for environment, axes in zip(environments, panels, strict=True):
            part = {name: [run for run in runs if _environment(run) == environment] for name, runs in groups.items()}
            draw(axes, {name: runs for name, runs in part.items() if runs}, numbers)


def _finish(axes: Axes, x: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if x != metrics.WALL_SECONDS:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if not any(len(np.asarray(line.get_xdata())) for line in axes.lines):
        axes.text(0.5, 0.5, "no episode has ended yet", ha="center", va="center", transform=axes.transAxes)


def _scores(runs: Sequence[RunFolder]) -> dict[RunFolder, float]:
    scores = {run: score(run) for run in runs}
    return {run: value for run, value in scores.items() if value is not None}


def _score_label(groups: Groups) -> str:
    evaluated = {run.evaluation_file.exists() for run in _all(groups)}
    kinds = {True: "mean return in evaluation", False: "last mean return while training"}
    return kinds[evaluated.pop()] if len(evaluated) == 1 else "score: evaluation, else training"


def _axis(runs: Sequence[RunFolder], x: str) -> tuple[float, str]:
    """What to divide the values of the horizontal axis by, and its label."""
    if x != metrics.WALL_SECONDS:
        return 1.0, metrics.lookup(x).label
    longest = max((curve[-1] for run in runs if len(curve := _curve(run, x)[0])), default=0.0)
    _, unit, name = next(row for row in UNITS if longest >= row[0])
    return unit, f"{metrics.lookup(x).title} ({name})"


def _curve(run: RunFolder, x: str, unit: float = 1.0) -> Curve:
    """The learning curve of a run, over a metric divided by a unit."""
    lines = [line for line in read_lines(run) if metrics.is_number(line[metrics.RETURN_MEAN])]
    returns = [line[metrics.RETURN_MEAN] for line in lines]
    return np.array([line[x] for line in lines], float) / unit, np.array(returns, float)


def _return_label() -> str:
    """The label of the vertical axis of learning curves, short enough for a small panel."""
    return textwrap.fill(metrics.lookup(metrics.RETURN_MEAN).label, 20)


def _all(groups: Groups) -> list[RunFolder]:
    return [run for runs in groups.values() for run in runs]


def _environment(run: RunFolder) -> str:
    return str(setting(run.read_settings(), "environment"))


def _unique(run: RunFolder, runs: Sequence[RunFolder]) -> str:
    """The name of a run's folder, or its path if several runs have the same name."""
    name = run.path.resolve().name
    return name if [other.path.resolve().name for other in runs].count(name) == 1 else str(run.path)


def _group_label(name: str, runs: Sequence[RunFolder]) -> str:
    """The name of a group with its number of runs per environment."""
    counts = Counter(_environment(run) for run in runs).values()
    least, most = min(counts), max(counts)
    number = f"{most} run{'s' if most > 1 else ''}" if least == most else f"{least} to {most} runs"
    count = ", ".join(part for part in (number, _state(runs)) if part)
    return f"{name} ({count})" if name else count


def _reached_goal(run: RunFolder) -> bool:
    summary: Any = run.read_summary()
    return isinstance(summary, dict) and summary.get("ended_by") == "goal"


def _state(runs: Sequence[RunFolder]) -> str:
    """A legend's remark on runs that have not ended or have nothing to show; empty if there are none."""
    silent = sum(not len(_curve(run, metrics.STEPS)[0]) for run in runs)
    open_ended = sum(run.read_summary() is None for run in runs)
    parts = {"without episodes": silent, "not finished": open_ended}
    return ", ".join(text if len(runs) == 1 else f"{count} {text}" for text, count in parts.items() if count)
