"""How the run went: the metrics that people look at, over its steps."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import EngFormatter

from asyncrl.analysis.drawing import ACCENT, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject

SHOWN = {
    "return_mean": "return, mean of the last 100 episodes",
    "entropy": "entropy of the policy, nats",
    "value_mean": "value, mean",
    "value_loss": "squared error of the value",
    "gradient_norm": "norm of the gradient",
    "learning_rate": "learning rate",
}
POINTS = 400
"""Of a curve; more are put together, each the mean of its share."""


def show_training(subject: Subject) -> Chapter:
    """A small picture for each metric that the run has.

    Raises:
        NotShownError: The run has no metrics yet.
    """
    lines = subject.run.read_metrics()
    names = [name for name in SHOWN if any(line.get(name) is not None for line in lines)]
    if len(lines) < 2 or not names:
        raise NotShownError("the run has written no metrics yet")
    rows = -(-len(names) // 3)
    with drawing(9, 1.9 * rows, rows, 3) as (figure, grid):
        for axes, name in zip(grid.flat, names, strict=False):
            known = np.array([(line["steps"], line[name]) for line in lines if line.get(name) is not None], float)
            parts = np.array_split(known, min(POINTS, len(known)))
            steps, values = np.array([part.mean(0) for part in parts]).T
            axes.plot(steps, values, color=ACCENT, linewidth=1.2)
            axes.set_title(SHOWN[name], fontsize=9)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            if name in ("gradient_norm", "value_loss") and values.min() > 0 and values.max() / values.min() > 100:
                axes.set_yscale("log")
        for axes in list(grid.flat)[len(names) :]:
            axes.set_visible(False)
    return Chapter("How it was trained", "Over steps.", (Picture("training", figure),))
