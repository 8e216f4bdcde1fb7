"""Imports point one way: no two files import each other, not even for types, and rooms import only rooms below them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"

ROOMS: tuple[tuple[str, ...], ...] = (
    ("errors", "hints", "search_ranges"),
    ("building", "given", "main_script"),
    ("check", "files", "formatting", "importing", "installing", "settings", "signals", "tree"),
    ("metrics", "types"),
    ("functional", "kernels"),
    ("networks", "optim"),
    ("memory",),
    ("auxiliary",),
    ("algorithms",),
    ("config",),
    ("envs", "presets"),
    ("run_folder",),
    ("machine",),
    ("reporting",),
    ("run_state",),
    ("callbacks",),
    ("runtime",),
    ("agent", "gorila"),
    ("agent_folder", "analysis", "export"),
    ("resolution",),
    ("request",),
    ("training",),
    ("api",),
    ("bench", "serve", "sweep"),
    ("tune",),
    ("cli",),
    ("", "__main__"),
)
"""Files and packages of `asyncrl`, from bottom to top. "" is `asyncrl` itself."""


def modules() -> dict[str, Path]:
    files = {path.relative_to(SOURCES).with_suffix(""): path for path in SOURCES.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, also inside functions and for types."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in names]
        else:
            continue
        yield from (name for name in names if name in known)


def imports() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def room(module: str) -> str:
    return f"{module}.".split(".")[1]


def test_no_two_files_import_each_other() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(error.args[1])) from None


def test_rooms_import_only_rooms_below_them() -> None:
    floors = {name: floor for floor, names in enumerate(ROOMS) for name in names}
    assert {room(module) for module in modules()} <= set(floors), "every room needs a place in ROOMS"
    upwards = {
        (module, other)
        for module, others in imports().items()
        for other in others
        if room(module) != room(other) and floors[room(other)] >= floors[room(module)]
    }
    assert not upwards
