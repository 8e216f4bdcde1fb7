"""The style of drawings on pages: transparent, so that they fit a light page and a dark one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

INK, ACCENT, MARK = "#41464d", "#2a6fbc", "#d9622c"
"""Colours of text and lines, and of highlights.

`to_svg` replaces them by the page's own colours, so nothing else may use exactly these.
"""
PAGE_COLOURS = {INK: "currentColor", ACCENT: "var(--accent)", MARK: "var(--mark)"}
STYLE: Any = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.parse_math": False,  # names of actions may contain dollar signs
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "asyncrl",
    "image.interpolation": "none",  # the page gets the pixels as they are
}


@contextmanager
def drawing(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """Makes a figure in the style of pages, and lays it out when the context ends.

    Args:
        width: In inches.
        height: In inches.
        rows: Number of rows of axes.
        columns: Number of columns of axes.
        options: More arguments of `Figure.subplots`.

    Yields:
        The figure, and its axes [rows, columns].
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)
        for axes in figure.axes:
            label_logarithms(axes)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laying out is slow, and would be repeated for each file


class PlainLogFormatter(LogFormatter):
    """Labels the ticks that matplotlib would label on a logarithmic axis, with plain numbers such as 0.001 or 1000."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick; empty if it gets none."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def label_logarithms(axes: Axes) -> None:
    """Gives the logarithmic axes plain numbers instead of powers in mathematical text, which is switched off."""
    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == "log":
            axis.set_major_formatter(PlainLogFormatter())
            axis.set_minor_formatter(PlainLogFormatter())


def to_svg(figure: Figure) -> str:
    """The figure as SVG for a page, in the page's colours; equal figures give equal text."""
    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for colour, page_colour in PAGE_COLOURS.items():
        text = text.replace(colour, page_colour)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file with a white background."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white", dpi=130)
    return file.getvalue()


def draw_image(axes: Axes, image: Any, title: str = "", **options: Any) -> Any:
    """Draws an image without ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(title)
    return axes.imshow(np.asarray(image), **options)


def gradient(colours: int = 32) -> list[str]:
    """The colours of a scale from low to high, as CSS colours."""
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in matplotlib.colormaps["viridis"](np.linspace(0, 1, colours))]
