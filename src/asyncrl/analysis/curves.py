"""Learning curves of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder

X_LABELS = {"steps": "steps", "frames": "frames", "wall_seconds": "wall-clock seconds"}
COLOURS = ("#2a6fbb", "#d9622b", "#2e8b57", "#8e5bb5", "#c23b58", "#7a6a53", "#3aa6a6", "#9a9a2e")


def plot_runs(runs: Sequence[RunFolder], output: Path, x: str = "steps") -> None:
    """Draws the mean return of the last 100 training episodes of each run.

    Args:
        runs: Run folders, one line each.
        output: Picture file; its ending chooses the format (png, svg, pdf).
        x: steps, frames or wall_seconds.

    Raises:
        UserError: A run has no metrics, or the picture cannot be written.
    """
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    titles = set()
    for number, run in enumerate(runs):
        lines = [line for line in run.read_metrics() if line["return_mean"] is not None]
        experiment = run.read_experiment()
        titles.add(experiment.environment)
        label = run.path.name if len(runs) > 1 else None
        horizontal = np.array([line[x] for line in lines])
        axes.plot(
            horizontal,
            [line["return_mean"] for line in lines],
            color=COLOURS[number % len(COLOURS)],
            linewidth=1.8,
            marker="o" if len(lines) < 3 else None,
            label=label,
        )
    axes.set_title(", ".join(sorted(titles)))
    axes.set_xlabel(X_LABELS[x])
    axes.set_ylabel("mean return of the last 100 episodes")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(runs) > 1:
        axes.legend(frameon=False, fontsize="small")
    try:
        figure.savefig(output)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {output}: {error}") from error
