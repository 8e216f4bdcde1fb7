"""Pictures of runs: learning curves, groups of runs against each other, scores against a setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from asyncrl.analysis.history import is_number, read_lines
from asyncrl.analysis.picture import colour, picture, style
from asyncrl.analysis.statistics import bootstrap_interval, interquartile_mean
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder

X_LABELS = {"steps": "steps", "frames": "frames", "wall_seconds": "wall-clock"}
UNITS = ((7200.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
"""From how many seconds on a time is told in which unit."""
RETURN = "mean return\nof the last 100 episodes"
POINTS = 200
"""Of a curve over several runs, or of a part of it."""
NEAR_END = 0.98
"""Part of the longest run's length: runs end a few steps apart."""
BAND = "line: mean over runs, of four and more their interquartile mean; band: 95 % bootstrap interval"
PARTLY = "dashed: not all runs came so far"

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Where, and the mean return there; each [N]."""
Groups = Mapping[str, Sequence[RunFolder]]
"""Runs by what they have in common."""


def plot_runs(runs: Sequence[RunFolder], output: Path, x: str = "steps") -> None:
    """Draws the mean return of the last 100 training episodes of each run, as it was written: nothing is smoothed.

    Args:
        runs: Run folders, one line each.
        output: Picture file; its ending chooses the format (png, svg, pdf).
        x: steps, frames or wall_seconds.

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

    _draw(groups, output, x_label, RETURN, draw)


def plot_groups(groups: Groups, output: Path, x: str = "steps") -> None:
    """Draws one curve for each group: the interquartile mean over its runs, with a 95 % bootstrap interval.

    A run that reached its goal and ended counts with its last return from there on. Where another run has ended, the
    curve is that of those which came further, as long as they are half of them, and dashed.

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

    _draw(groups, output, x_label, RETURN, draw, notes)


def _mean_curve(axes: Axes, runs: Sequence[RunFolder], x: str, unit: float, number: int, opacity: float) -> bool:
    """Draws a group's mean and interval as far as half of its runs came; says whether it is of all of them."""
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
    if not drawn:  # nothing but a point
        axes.plot([last], [np.mean([values[-1] for (_, values), _ in found])], marker="o", **style(number))
    return drawn in (0, len(found))


def plot_scores(groups: Groups, output: Path, name: str) -> None:
    """Draws each run's score over one of its settings, such as the learning rate (Mnih et al. 2016, figure 2).

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
    """Draws each group's scores from the best to the worst (Mnih et al. 2016, figure S5): flat is robust.

    Raises:
        UserError: The picture cannot be written.
    """

    def draw(axes: Axes, panel: Groups, numbers: Mapping[str, int]) -> None:
        for name, runs in panel.items():
            scores = sorted(_scores(runs).values(), reverse=True)
            axes.plot(range(1, len(scores) + 1), scores, marker="o", markersize=3.5, label=name, **style(numbers[name]))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    _draw(groups, output, "runs, the best first", _score_label(groups), draw)


def score(run: RunFolder) -> float | None:
    """What a run reached: its evaluation if it has one, else the mean return of its last 100 training episodes.

    None if it has neither.
    """
    evaluation = run.read_evaluation()
    if evaluation is not None:
        try:
            return float(evaluation["return_mean"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{run.evaluation_file} holds no evaluation: take it away") from error
    _, returns = _curve(run, "steps")
    return float(returns[-1]) if len(returns) else None


def _draw(
    groups: Groups,
    output: Path,
    x_label: str,
    y_label: str,
    draw: Callable[[Axes, Groups, Mapping[str, int]], None],
    notes: Sequence[str] = (),
) -> None:
    """One panel for each environment; a group has the same colour in all."""
    environments = sorted({_environment(run) for run in _all(groups)})
    numbers = {name: number for number, name in enumerate(groups)}
    with picture(output, environments, x_label, y_label, notes) as panels:
        for environment, axes in zip(environments, panels, strict=True):
            part = {name: [run for run in runs if _environment(run) == environment] for name, runs in groups.items()}
            draw(axes, {name: runs for name, runs in part.items() if runs}, numbers)


def _finish(axes: Axes, x: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if x != "wall_seconds":
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
    """What to divide the horizontal axis by, and its name."""
    if x != "wall_seconds":
        return 1.0, X_LABELS[x]
    longest = max((curve[-1] for run in runs if len(curve := _curve(run, x)[0])), default=0.0)
    _, unit, name = next(row for row in UNITS if longest >= row[0])
    return unit, f"{X_LABELS[x]} {name}"


def _curve(run: RunFolder, x: str, unit: float = 1.0) -> Curve:
    lines = [line for line in read_lines(run) if is_number(line["return_mean"])]
    return np.array([line[x] for line in lines], float) / unit, np.array([line["return_mean"] for line in lines], float)


def _all(groups: Groups) -> list[RunFolder]:
    return [run for runs in groups.values() for run in runs]


def _environment(run: RunFolder) -> str:
    return str(setting(run.read_settings(), "environment"))


def _unique(run: RunFolder, runs: Sequence[RunFolder]) -> str:
    """The name of a run's folder, or its path if others have the same name."""
    name = run.path.resolve().name
    return name if [other.path.resolve().name for other in runs].count(name) == 1 else str(run.path)


def _group_label(name: str, runs: Sequence[RunFolder]) -> str:
    """The name of a group with the number of its runs; of several environments, in each."""
    counts = Counter(_environment(run) for run in runs).values()
    least, most = min(counts), max(counts)
    number = f"{most} run{'s' if most > 1 else ''}" if least == most else f"{least} to {most} runs"
    count = ", ".join(part for part in (number, _state(runs)) if part)
    return f"{name} ({count})" if name else count


def _reached_goal(run: RunFolder) -> bool:
    summary: Any = run.read_summary()
    return isinstance(summary, dict) and summary.get("ended_by") == "goal"


def _state(runs: Sequence[RunFolder]) -> str:
    """What a legend should say of runs that have not ended, or have nothing to show."""
    silent = sum(not len(_curve(run, "steps")[0]) for run in runs)
    open_ended = sum(run.read_summary() is None for run in runs)
    parts = {"without episodes": silent, "not finished": open_ended}
    return ", ".join(text if len(runs) == 1 else f"{count} {text}" for text, count in parts.items() if count)
