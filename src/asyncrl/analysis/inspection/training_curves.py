"""The training curves of the run: its metrics over steps."""

from __future__ import annotations

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.metric_curves import CURVES, draw, points

COLUMNS = 3


def show_training(subject: Subject) -> Chapter:
    """Shows a small curve for each metric that the run has.

    Raises:
        NotShownError: The run has written no metrics yet.
    """
    lines = subject.run.read_metrics()
    curves = {name: curve for name in CURVES if len(curve := points(lines, name))}
    if len(lines) < 2 or not curves:
        raise NotShownError("the run has written no metrics yet")
    rows = -(-len(curves) // COLUMNS)
    with drawing(9, 1.9 * rows, rows, COLUMNS) as (figure, grid):
        for axes, (name, curve) in zip(grid.flat, curves.items(), strict=False):
            draw(axes, curve, CURVES[name])
            axes.set_title(CURVES[name].title, fontsize=9)
        for axes in list(grid.flat)[len(curves) :]:
            axes.set_visible(False)
    return Chapter("All metrics are drawn over training steps.", (Picture("training", figure),))
