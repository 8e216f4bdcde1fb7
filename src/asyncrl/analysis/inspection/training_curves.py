"""The training curves of the run: its metrics over steps."""

from __future__ import annotations

import textwrap

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.metric_curves import curves, draw

COLUMNS = 3
LETTERS = 34
"""Characters that fit in a line above a curve; longer titles are wrapped."""


def show_training(subject: Subject) -> Chapter:
    """Shows a small curve for each metric that the run has.

    Raises:
        NotShownError: The run has written no metrics yet.
    """
    lines = subject.run.read_metrics()
    drawn = curves(lines)
    if len(lines) < 2 or not drawn:
        raise NotShownError("the run has written no metrics yet")
    rows = -(-len(drawn) // COLUMNS)
    with drawing(9, 1.9 * rows, rows, COLUMNS) as (figure, grid):
        for axes, (metric, curve) in zip(grid.flat, drawn.items(), strict=False):
            draw(axes, curve, metric)
            axes.set_title(textwrap.fill(metric.label, LETTERS), fontsize=9)
        for axes in list(grid.flat)[len(drawn) :]:
            axes.set_visible(False)
    return Chapter("All metrics are drawn over training steps.", (Picture("training", figure),))
