"""`asyncrl doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse


@dataclass(frozen=True)
class Arguments:
    """Checks whether this machine is fit for training, and says how to fix what is not.

    With a run folder it also says how the run ended, what is likely wrong with its learning, and where the time of its
    workers went. A run that failed is bad. Remarks on learning are notes: likely, but not certain. The exit code is 1
    if anything is bad.
    """

    run: Annotated[Positional[Path | None], tyro.conf.arg(metavar="RUN")] = None
    """Run folder to diagnose."""


def main(arguments: Sequence[str]) -> int:
    """Prints one line for each check."""
    given = parse(Arguments, "doctor", arguments)

    from rich.console import Console
    from rich.markup import escape

    from asyncrl.machine import check_machine

    console = Console()
    checks = check_machine()
    if given.run is not None:
        from asyncrl.analysis.advice import advise
        from asyncrl.run_folder import open_run_folder

        checks += advise(open_run_folder(given.run))
    for check in checks:
        mark = {"good": "[green]good[/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}[check.verdict]
        console.print(f"{mark}  {escape(f'{check.name}: {check.text}')}", soft_wrap=True, highlight=False)
    return 1 if any(check.verdict == "bad" for check in checks) else 0
