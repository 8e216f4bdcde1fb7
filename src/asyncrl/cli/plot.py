"""`asyncrl plot`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from asyncrl.cli.arguments import parse
from asyncrl.errors import UserError


@dataclass(frozen=True)
class Arguments:
    """Draws the learning curves of one or many runs."""

    runs: Positional[tuple[Path, ...]]
    """Run folders."""
    output: Path = Path("learning_curves.png")
    """Picture to write: .png, .svg or .pdf."""
    x: Literal["steps", "frames", "wall_seconds"] = "steps"
    """Horizontal axis."""


def main(arguments: Sequence[str]) -> int:
    """Writes the picture."""
    given = parse(Arguments, "plot", arguments)
    if not given.runs:
        raise UserError("which runs? for example: asyncrl plot runs/CartPole-v1-a3c-1")
    if given.output.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"pictures end in .png, .svg or .pdf, not {given.output.name!r}")

    from asyncrl.analysis.curves import plot_runs
    from asyncrl.run_folder import open_run_folder

    plot_runs([open_run_folder(run) for run in given.runs], given.output, given.x)
    print(f"wrote {given.output}")
    return 0
