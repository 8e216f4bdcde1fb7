"""Curves as SVG inside a page, in the page's own colours."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

INK, CURVE, MARK = "#010203", "#010204", "#010205"
"""Stand for the colours of the page, which matplotlib does not know."""
PAGE_COLOURS = {INK: "currentColor", CURVE: "var(--accent)", MARK: "var(--mark)"}
MOST_POINTS = 1000
"""Of a curve; of a longer one every second, third, ... point is drawn."""

Points = Sequence[tuple[float, float]]


def curve(points: Points, marks: Points = (), width: float = 4.2, height: float = 1.7) -> str:
    """One curve over steps.

    Args:
        points: Of the curve: step and value, in order.
        marks: Single points above it.
        width: In inches, of which a page makes what it likes.
        height: In inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    shown = [*points[:: max(1, len(points) // MOST_POINTS)], *points[-1:]]
    axes.plot(*zip(*shown, strict=True), color=CURVE, linewidth=1.6, marker="o" if len(points) < 3 else None)
    if marks:
        axes.plot(*zip(*marks, strict=True), color=MARK, linestyle="none", marker="o", markersize=4)
    axes.tick_params(colors=INK, labelsize=9.5)
    axes.grid(alpha=0.15, color=INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    return inline_svg(figure)


def inline_svg(figure: Figure) -> str:
    """A figure as an element of a page: no background, text as text, colours of the page for those that stand for them.

    Equal figures give equal text.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "asyncrl", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for stand_in, colour in PAGE_COLOURS.items():
        text = text.replace(stand_in, colour)
    return text
