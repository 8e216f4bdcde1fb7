"""`asyncrl plot`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder


@dataclass(frozen=True)
class Arguments:
    """Draws the learning curves of runs, or their scores over a setting, with a panel for each environment."""

    runs: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN")]
    """Run folders, or sweep folders, which stand for all their runs."""
    output: Path = Path("learning_curves.png")
    """Picture file to write: .png, .svg or .pdf."""
    x: str = "steps"
    """Horizontal axis: steps, frames or wall_seconds for curves; a setting such as learning_rate for scores."""
    by: tuple[str, ...] = ()
    """Settings to group runs by, such as algorithm. By default, runs that differ only in their seed are a group."""
    each: bool = False
    """Draw one curve for each run instead of one for each group."""
    sorted: bool = False
    """Draw the scores of each group from best to worst instead of learning curves."""


def main(arguments: Sequence[str]) -> int:
    """Writes the picture and prints its name."""
    given = parse(Arguments, "plot", arguments)
    if not given.runs:
        raise UserError("which runs? for example: asyncrl plot runs/CartPole-v1-a3c-1")
    if given.output.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"pictures end in .png, .svg or .pdf, not {given.output.name!r}")

    if given.each and given.by:
        raise UserError("--each draws every run by itself, but --by groups runs: leave one of them out")

    from asyncrl.analysis import curves
    from asyncrl.analysis.grouping import group_by_differences, group_runs
    from asyncrl.sweep.folder import runs_in

    runs = list({run.path.resolve(): run for path in _begun(given.runs) for run in runs_in(path)}.values())
    names, x = [name.replace("-", "_") for name in given.by], given.x.replace("-", "_")
    is_setting = x not in curves.X_AXES and not given.sorted
    groups = group_runs(runs, names) if names else group_by_differences(runs, apart=x if is_setting else "")
    if given.sorted:
        curves.plot_sorted(groups, given.output)
    elif is_setting:
        curves.plot_scores(groups, given.output, x)
    elif given.each or len(runs) == 1:
        curves.plot_runs(runs, given.output, x)
    else:
        curves.plot_groups(groups, given.output, x)
    print(f"wrote {given.output}")
    return 0


def _begun(paths: Sequence[Path]) -> list[Path]:
    """Leaves out the folders of runs that ended before they wrote anything, unless all are such folders."""
    empty = [path for path in paths if path.is_dir() and not RunFolder(path).has_begun]
    if not empty or len(empty) == len(paths):
        return list(paths)
    names = ", ".join(map(str, empty))
    print(f"warning: left out, because no run has written anything there: {names}", file=sys.stderr)
    return [path for path in paths if path not in empty]
