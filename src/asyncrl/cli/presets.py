"""`asyncrl presets`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncrl.cli.arguments import parse


@dataclass(frozen=True)
class Arguments:
    """Lists the presets, which are named settings. 'asyncrl train ENV --preset NAME' starts from one of them."""


def main(arguments: Sequence[str]) -> int:
    """Prints a table of presets."""
    parse(Arguments, "presets", arguments)

    from rich.console import Console
    from rich.table import Table

    from asyncrl.presets import PRESETS

    table = Table("preset", "for", "algorithms", "default for", box=None, pad_edge=False)
    for preset in PRESETS:
        environments = ", ".join(preset.environments) or "-"
        table.add_row(preset.name, preset.description, ", ".join(preset.algorithms), environments)
    Console().print(table)
    return 0
