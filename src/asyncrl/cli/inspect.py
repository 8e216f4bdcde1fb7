"""`asyncrl inspect`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse
from asyncrl.config import check_seed
from asyncrl.errors import UserError

MOST_STATES = 20_000
"""With more states, the page would become too large for a browser."""


@dataclass(frozen=True)
class Arguments:
    """Writes a page that shows what an agent learned: a video with values, saliency maps, filters and more."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    output: Path | None = None
    """Folder for the page and its pictures; the default is RUN/inspect."""
    checkpoint: str = "last"
    """Checkpoint to load: last, best (highest mean return), or a step."""
    states: int = 2000
    """Number of states to record."""
    seconds: float = 40.0
    """Longest time to play for these states."""
    dimensions: tuple[int, ...] = ()
    """Two entries of the observation, counted from 0, for the map of value and policy; the default is the two that
    matter most."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of your own that the run may import. Nothing else that a run folder names is ever executed."""
    seed: int = 0
    """Seed for the environment, the drawn actions and t-SNE."""


def main(arguments: Sequence[str]) -> int:
    """Writes the page and prints its path."""
    given = parse(Arguments, "inspect", arguments)
    if not 1 <= given.states <= MOST_STATES or given.seconds <= 0:
        raise UserError(f"--states must be from 1 to {MOST_STATES:,}, and --seconds more than 0")
    check_seed(given.seed)

    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from asyncrl.agent import load
    from asyncrl.run_folder import open_run_folder

    torch.set_num_threads(1)  # small batches are not faster with more threads
    run = open_run_folder(given.run)
    agent = load(given.run, checkpoint=given.checkpoint, modules=given.imports)
    for warning in agent.warnings:
        print(f"warning: {warning}; using an older one", file=sys.stderr)

    from asyncrl.analysis.inspection.report import inspect

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("playing", total=1.0)
        page = inspect(
            run,
            agent,
            given.output or given.run / "inspect",
            states=given.states,
            seconds=given.seconds,
            deterministic=given.deterministic,
            dimensions=given.dimensions,
            seed=given.seed,
            progress=lambda what, share: bar.update(task, completed=share, description=what),
        )
    print(f"wrote {page}")
    return 0
