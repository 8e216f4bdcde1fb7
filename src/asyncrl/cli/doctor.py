"""`asyncrl doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncrl.cli.arguments import parse


@dataclass(frozen=True)
class Arguments:
    """Checks that this machine is fit for training and says what to mend; exit code 1 if something must be."""


def main(arguments: Sequence[str]) -> int:
    """Prints one line for each check."""
    parse(Arguments, "doctor", arguments)

    from rich.console import Console

    from asyncrl.machine import check_machine

    console = Console()
    checks = check_machine()
    for check in checks:
        mark = {"good": "[green]good[/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}[check.verdict]
        console.print(f"{mark}  {check.name}: {check.text}", soft_wrap=True, highlight=False)
    return 1 if any(check.verdict == "bad" for check in checks) else 0
