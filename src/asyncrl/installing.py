"""The command that installs a missing package where this program runs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib.metadata import requires
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
"""The checkout that this program runs from, if it runs from one."""


def install_command(requirement: str, *, upgrade: bool = False) -> str:
    """The command that installs a requirement for the Python that runs this program.

    An extra, such as asyncrl[fast], is installed from the checkout that this program runs from. A program that was
    installed as a package has no checkout, and the package may be on no index, so the command names what the extra
    needs.

    Args:
        requirement: A requirement as pip takes it. asyncrl itself comes with one extra.
        upgrade: Replace an installed package by its newest version.
    """
    extra = re.fullmatch(r"asyncrl\[([\w-]+)\]", requirement)
    words = [requirement] if extra is None else _words(extra[1])
    return " ".join([_pip(), "install", *(["--upgrade"] if upgrade else []), *map(_quoted, words)])


def _words(extra: str) -> list[str]:
    if (SOURCE / "pyproject.toml").is_file():
        return ["-e", f"{'.' if Path.cwd() == SOURCE else SOURCE}[{extra}]"]
    parts = [requirement.partition(";") for requirement in requires("asyncrl") or ()]
    return [name.strip() for name, _, marker in parts if re.search(rf"extra == ['\"]{extra}['\"]", marker)]


def _pip() -> str:
    """The shortest command that runs the pip of this Python."""
    python, found = Path(sys.executable), shutil.which("pip")
    if found is not None and Path(found).parent == python.parent:
        return "pip"
    inside = python.is_relative_to(Path.cwd())
    return f"{_quoted(os.path.relpath(python) if inside else str(python))} -m pip"


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./:\\-]+", word) else f'"{word}"'
