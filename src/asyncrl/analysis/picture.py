"""The frame of every picture: panels, colours, one legend, and the file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from asyncrl.errors import UserError

COLOURS = ("#2a6fbb", "#d9622b", "#2e8b57", "#8e5bb5", "#c23b58", "#7a6a53", "#3aa6a6", "#9a9a2e")
DASHES = ("-", ":", "-.")
"""Once all colours are taken."""
MOST_LABELS = 16
"""A longer legend would be more than the picture."""
WIDTH = 8.0
"""Inches: at 120 dots each, about as wide as a page shows it, so that its letters keep their size."""
LETTERS = 100
"""In a line of that width."""


def colour(number: int) -> str:
    """Of the group of that number."""
    return COLOURS[number % len(COLOURS)]


def style(number: int) -> dict[str, Any]:
    """Colour and kind of a group's line."""
    return {"color": colour(number), "linewidth": 1.8, "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}


@contextmanager
def picture(
    output: Path, titles: Sequence[str], x_label: str, y_label: str, notes: Sequence[str] = ()
) -> Iterator[list[Axes]]:
    """Panels to draw on, one for each title; afterwards the picture is written, with one legend for all.

    Args:
        output: Picture file; its ending chooses the format.
        titles: Of the panels.
        x_label: Of all panels.
        y_label: Of all panels.
        notes: What a reader must know; more may be added while drawing.

    Raises:
        UserError: It cannot be written.
    """
    columns = min(len(titles), 2 if len(titles) in (2, 4) else 3)
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(WIDTH, 4.4 if rows == columns == 1 else 2.7 * rows + 0.9), dpi=120, layout="constrained")
    panels: list[Any] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(titles) :]:
        axes.set_visible(False)
    yield panels[: len(titles)]
    for number, (axes, title) in enumerate(zip(panels, titles, strict=False)):
        if number + columns >= len(titles):
            axes.set_xlabel(x_label)
        if number % columns == 0:
            axes.set_ylabel(y_label)
        axes.set_title(textwrap.fill(title, LETTERS // columns), fontsize=11)
        if columns > 2 and isinstance(axes.xaxis.get_major_locator(), MaxNLocator):
            axes.locator_params(axis="x", nbins=3)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, panels, notes)
    write_picture(figure, output)


def _legend(figure: Figure, panels: Sequence[Any], notes: Sequence[str]) -> None:
    """One legend under all panels, where there is more than one thing to name, and the notes."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    if len(entries) > MOST_LABELS:
        more = len(entries) - MOST_LABELS + 1
        entries = dict(list(entries.items())[: MOST_LABELS - 1]) | {f"and {more} more": Line2D([], [], linestyle="")}
    if not (len(entries) > 1 or notes):
        return
    wrapped = {textwrap.fill(text, LETTERS // 2, break_long_words=True): handle for text, handle in entries.items()}
    longest = max((len(line) for text in wrapped for line in text.splitlines()), default=0)
    columns = max(1, min(len(wrapped), LETTERS // (longest + 6)))
    title = textwrap.fill("; ".join(notes), LETTERS)
    figure.legend(
        list(wrapped.values()),
        list(wrapped),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        title=title or None,
        title_fontsize=8,
    )


def write_picture(figure: Figure, output: Path) -> None:
    """Saves a figure.

    Raises:
        UserError: The file cannot be written, or its ending names no format.
    """
    try:
        figure.savefig(output)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {output}: {getattr(error, 'strerror', None) or error}") from error
