"""`asyncrl plot`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse
from asyncrl.errors import UserError


@dataclass(frozen=True)
class Arguments:
    """Draws the learning curves of one or many runs, or their scores over a setting."""

    runs: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN")]
    """Run folders, or folders of sweeps."""
    output: Path = Path("learning_curves.png")
    """Picture to write: .png, .svg or .pdf."""
    x: str = "steps"
    """Horizontal axis: steps, frames or wall_seconds; or a setting such as learning_rate, for a point for each run."""
    by: tuple[str, ...] = ()
    """Put runs with equal values of these settings, such as algorithm, together in one colour."""
    sorted: bool = False
    """Draw the scores of each group from the best to the worst instead."""


def main(arguments: Sequence[str]) -> int:
    """Writes the picture."""
    given = parse(Arguments, "plot", arguments)
    if not given.runs:
        raise UserError("which runs? for example: asyncrl plot runs/CartPole-v1-a3c-1")
    if given.output.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"pictures end in .png, .svg or .pdf, not {given.output.name!r}")

    from asyncrl.analysis import curves
    from asyncrl.sweep.specification import runs_in

    runs = [run for path in given.runs for run in runs_in(path)]
    names = [name.replace("-", "_") for name in given.by]
    groups = curves.group_runs(runs, names) if names else {"all": runs}
    x = given.x.replace("-", "_")
    if given.sorted:
        curves.plot_sorted(groups, given.output)
    elif x not in curves.X_LABELS:
        curves.plot_scores(groups, given.output, x)
    elif names:
        curves.plot_groups(groups, given.output, x)
    else:
        curves.plot_runs(runs, given.output, x)
    print(f"wrote {given.output}")
    return 0
