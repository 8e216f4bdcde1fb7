"""Presets in files: what `asyncrl tune` found, or settings that somebody wrote down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dacite
import yaml

from asyncrl.config import GROUPS, Experiment, to_dict
from asyncrl.errors import UserError
from asyncrl.files import write_text

SUFFIXES = (".yaml", ".yml")
"""How the names of preset files end."""


@dataclass(frozen=True)
class PresetFile:
    """The content of a preset file."""

    preset: str  # the named preset that it starts from
    algorithm: str
    settings: dict[str, Any]  # what differs from that preset, each by its own name
    environment: str = ""  # for which the settings were found
    score: float | None = None
    found: dict[str, Any] = field(default_factory=dict)  # how they were found


def read_preset(path: Path) -> PresetFile:
    """Reads a preset file.

    Raises:
        UserError: There is no such file, or it is not a preset.
    """
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no preset file {path}") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError, OverflowError) as error:
        raise UserError(f"the preset file {path} cannot be read ({type(error).__name__})") from error
    example = (
        "it should have lines such as 'preset: tuned/catch', 'algorithm: a3c' and 'settings: {learning_rate: 0.01}'"
    )
    if not isinstance(data, Mapping):
        raise UserError(f"the preset file {path} holds no settings: {example}")
    try:
        return dacite.from_dict(PresetFile, data, dacite.Config(strict=True, type_hooks={float: float}))
    except (dacite.DaciteError, TypeError, ValueError) as error:
        raise UserError(f"the preset file {path} cannot be used ({error}): {example}".replace("\n", " ")) from error


def write_preset(path: Path, content: PresetFile) -> None:
    """Writes a preset file.

    Raises:
        OSError: It cannot be written.
    """
    write_text(path, yaml.safe_dump(asdict(content), sort_keys=False, allow_unicode=True))


def differences(experiment: Experiment, start: Experiment) -> dict[str, Any]:
    """The settings in which an experiment differs from another one of the same algorithm, each by its own name."""
    mine, other = _settings(experiment), _settings(start)
    return {name: value for name, value in mine.items() if value != other[name]}


def _settings(experiment: Experiment) -> dict[str, Any]:
    """All settings by their own names, as plain data."""
    data = to_dict(experiment)
    groups = {
        name: value for group in GROUPS for name, value in data[group].items() if (group, name) != ("algorithm", "name")
    }
    return {name: value for name, value in data.items() if name not in (*GROUPS, "environment", "preset")} | groups
