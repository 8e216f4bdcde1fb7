"""The results of `benchmarks/atari.py`: their files, the table and the picture."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from asyncrl.analysis.drawing import drawing, to_png
from asyncrl.errors import UserError
from asyncrl.files import write_bytes, write_text

ROW = ("return_mean", "return_std", "episodes", "steps", "seconds", "cores", "setting", "version")
POINT = ("seconds", "steps", "return_mean")
COLOURS = ("#2a6fbc", "#7a56b3", "#d9622c", "#2c8f5b")
CONFIDENCE = 0.95
COLUMNS = 3
"""Games beside each other in the picture."""


@dataclass(frozen=True, order=True)
class Run:
    """A training of a method on a game."""

    game: str
    method: str
    minutes: float
    seed: int

    @property
    def environment(self) -> str:
        """Gymnasium's id."""
        return f"ALE/{self.game}-v5"

    def __str__(self) -> str:
        return f"{self.method} on {self.game}, {self.minutes:g} minutes, seed {self.seed}"


KEY = tuple(field.name for field in fields(Run))


class Results:
    """The results in a folder. Both files are written as a whole, so a run is in both or, to be made again, in neither.

    Args:
        folder: Folder of `atari.csv` and `atari_curves.csv`.

    Raises:
        UserError: A file cannot be read.

    Attributes:
        rows: What each run reached.
        curves: Seconds, steps and mean return [N, 3] of each run while it trained.
    """

    def __init__(self, folder: Path) -> None:
        self.row_file, self.curve_file = folder / "atari.csv", folder / "atari_curves.csv"
        self.rows: dict[Run, dict[str, str]] = {}
        self.curves: dict[Run, list[list[float]]] = defaultdict(list)
        for run, row in _read(self.row_file, ROW):
            self.rows[run] = row
        for run, point in _read(self.curve_file, POINT):
            if run in self.rows:
                self.curves[run].append([float(point[name]) for name in POINT])

    def add(self, run: Run, row: Mapping[str, Any], curve: Sequence[Sequence[float]]) -> None:
        """Adds a run and saves."""
        self.rows[run] = {name: str(row[name]) for name in ROW}
        self.curves[run] = [list(point) for point in curve]
        self.row_file.parent.mkdir(parents=True, exist_ok=True)
        points = [(run, [f"{value:g}" for value in point]) for run in self.rows for point in self.curves[run]]
        _write(self.curve_file, POINT, points)  # first: a curve without a row is forgotten
        _write(self.row_file, ROW, [(run, list(values.values())) for run, values in self.rows.items()])

    def scores(self, game: str, method: str, minutes: float) -> list[float]:
        """The mean returns of all seeds."""
        found = [run for run in self.rows if (run.game, run.method, run.minutes) == (game, method, minutes)]
        return [float(self.rows[run]["return_mean"]) for run in sorted(found)]

    def each(self, name: str) -> list[Any]:
        """The different games, methods or minutes, in the order in which they were made; minutes rise."""
        found = list(dict.fromkeys(getattr(run, name) for run in self.rows))
        return sorted(found) if name == "minutes" else found


def _read(file: Path, names: Sequence[str]) -> Iterable[tuple[Run, dict[str, str]]]:
    if not file.exists():
        return
    with file.open(newline="", encoding="utf-8") as opened:
        for line in csv.DictReader(opened):
            try:
                run = Run(line["game"], line["method"], float(line["minutes"]), int(line["seed"]))
                yield run, {name: line[name] for name in names}
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{file} holds a line that is no result: take it away") from error


def _write(file: Path, names: Sequence[str], lines: Iterable[tuple[Run, Sequence[str]]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*KEY, *names])
    writer.writerows([run.game, run.method, f"{run.minutes:g}", run.seed, *values] for run, values in lines)
    write_text(file, text.getvalue())


def table(results: Results) -> str:
    """The scores in Markdown, a table for each number of minutes; the best mean of a game is bold."""
    methods, parts = results.each("method"), []
    for minutes in results.each("minutes"):
        lines = [f"{minutes:g} minutes", "", f"| game | {' | '.join(methods)} |", f"|{'---|' * (1 + len(methods))}"]
        for game in results.each("game"):
            scores = {method: results.scores(game, method, minutes) for method in methods}
            best = max((float(np.mean(found)) for found in scores.values() if found), default=0.0)
            cells = [_cell(scores[method], best) for method in methods]
            lines.append(f"| {game} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(scores: Sequence[float], best: float) -> str:
    """The mean of some seeds with its interval."""
    if not scores:
        return ""
    mean, half = float(np.mean(scores)), half_interval(scores)
    text = f"**{mean:,.4g}**" if mean == best else f"{mean:,.4g}"
    return f"{text} ± {half:,.2g}" if len(scores) > 1 else f"{text} (one seed)"


def half_interval(scores: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean of some seeds, by Student's t."""
    if len(scores) < 2:
        return 0.0
    quantile = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(scores) - 1))
    return quantile * float(np.std(scores, ddof=1)) / len(scores) ** 0.5


def draw(results: Results, file: Path) -> None:
    """Draws the learning curves of the longest runs: each seed thin, and the mean over seeds thick."""
    games, methods, minutes = results.each("game"), results.each("method"), results.each("minutes")[-1]
    columns = min(COLUMNS, len(games))
    rows = -(-len(games) // columns)
    with drawing(4 * columns, 3 * rows, rows, columns) as (figure, axes):
        for place, game in zip(axes.flat, games, strict=False):
            place.set_title(game)
            for colour, method in zip(COLOURS, methods, strict=False):
                runs = [run for run in results.rows if (run.game, run.method, run.minutes) == (game, method, minutes)]
                _draw_curves(place, [np.array(results.curves[run]) for run in runs], minutes, method, colour)
        for place in axes.flat[len(games) :]:
            place.set_visible(False)
        for place in axes[-1]:
            place.set_xlabel("minutes of training")
        for place in axes[:, 0]:
            place.set_ylabel("mean return of 100 games")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(methods))
    write_bytes(file, to_png(figure))


def _draw_curves(axes: Any, curves: Sequence[Any], minutes: float, method: str, colour: str) -> None:
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return
    for curve in curves:
        axes.plot(curve[:, 0] / 60, curve[:, 2], color=colour, linewidth=0.6, alpha=0.5)
    begin = max(curve[0, 0] for curve in curves) / 60
    grid = np.linspace(begin, max(begin, minutes), 100)
    mean = np.mean([np.interp(grid, curve[:, 0] / 60, curve[:, 2]) for curve in curves], axis=0)
    axes.plot(grid, mean, color=colour, linewidth=1.8, label=method)
