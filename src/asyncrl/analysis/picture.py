"""The layout shared by all pictures of runs: panels, colours, one legend, and the file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from asyncrl.analysis.drawing import label_logarithms
from asyncrl.errors import UserError

COLOURS = ("#2a6fbb", "#d9622b", "#2e8b57", "#8e5bb5", "#c23b58", "#7a6a53", "#3aa6a6", "#9a9a2e")
DASHES = ("-", ":", "-.")
"""Line styles; the next one is used once all colours are taken."""
MOST_LABELS = 16
"""Entries of a legend; more would take more room than the picture."""
WIDTH = 8.0
"""Width in inches. At 120 dots per inch this is about as wide as a page shows the picture, so text is not scaled."""
LETTERS = 100
"""Characters that fit in a line of that width."""


def colour(number: int) -> str:
    """The colour of a group, by its number."""
    return COLOURS[number % len(COLOURS)]


def style(number: int) -> dict[str, Any]:
    """Colour, width and dashes of a group's line, by its number."""
    return {"color": colour(number), "linewidth": 1.8, "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}


@contextmanager
def picture(
    output: Path, titles: Sequence[str], x_label: str, y_label: str, notes: Sequence[str] = ()
) -> Iterator[list[Axes]]:
    """Makes one panel for each title; when they have been drawn on, writes the picture with one legend for all.

    Args:
        output: Picture file; its suffix chooses the format.
        titles: Titles of the panels.
        x_label: Label of all horizontal axes.
        y_label: Label of all vertical axes.
        notes: Remarks below the legend; more may be added while drawing.

    Raises:
        UserError: The picture cannot be written.
    """
    with matplotlib.rc_context({"text.parse_math": False}):  # names of runs may contain dollar signs
        columns = min(len(titles), 2 if len(titles) in (2, 4) else 3)
        rows = -(-len(titles) // columns)
        figure = Figure(
            figsize=(WIDTH, 4.4 if rows == columns == 1 else 2.7 * rows + 0.9), dpi=120, layout="constrained"
        )
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
            label_logarithms(axes)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        _legend(figure, panels, notes)
        write_picture(figure, output)


def _legend(figure: Figure, panels: Sequence[Any], notes: Sequence[str]) -> None:
    """Adds one legend below all panels, if there is more than one thing to name, and the notes."""
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
    """Writes a figure to a file.

    Raises:
        UserError: The file cannot be written, or its suffix names no known format.
    """
    try:
        figure.savefig(output)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {output}: {getattr(error, 'strerror', None) or error}") from error
