"""`asyncrl algorithms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncrl.cli.arguments import parse


@dataclass(frozen=True)
class Arguments:
    """Lists the algorithms. 'asyncrl train ENV --algorithm NAME' uses one of them."""


def main(arguments: Sequence[str]) -> int:
    """Prints a table of algorithms and their settings."""
    parse(Arguments, "algorithms", arguments)

    import dataclasses
    import sys

    from rich.console import Console
    from rich.table import Table

    from asyncrl.algorithms import ALGORITHMS

    table = Table("algorithm", "description", "settings", box=None, pad_edge=False)
    for name, cls in ALGORITHMS.items():
        source = (sys.modules[cls.__module__].__doc__ or "").strip().splitlines()[0]
        settings = ", ".join(f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        table.add_row(name, source, settings)
    Console().print(table)
    return 0
