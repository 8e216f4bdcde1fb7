"""Groups runs by their settings, and names the groups by the settings that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import Any

from asyncrl.config import GROUPS, Experiment, available_cores, setting
from asyncrl.run_folder import RunFolder
from asyncrl.settings import NetworkSettings, OptimizerSettings

IGNORED = ("seed", "preset", "name", "environment", "until_return", "until_seconds")
"""Settings that do not make a run another method: its seed, the origin of its settings, when it ends."""
FIRST = ("algorithm", "memory", "optimizer", "learning_rate", "workers", "envs_per_worker", "rollout_length")
"""Settings that are preferred in names, if several would tell the groups apart."""
BY_VALUE = ("algorithm", "optimizer", "schedule", "torso", "activation", "runtime", "initialization")
"""Settings whose value is clear without the setting's name."""
SHORT = {"learning_rate": "lr", "envs_per_worker": "envs", "max_gradient_norm": "clip"}
"""Abbreviations of settings in legends."""


def group_runs(runs: Sequence[RunFolder], names: Sequence[str]) -> dict[str, list[RunFolder]]:
    """Groups runs by the values of some of their settings, in the order of these values where they are numbers.

    Raises:
        UserError: A run has no such setting.
    """
    groups: dict[str, list[RunFolder]] = {}
    values: dict[str, list[Any]] = {}
    for run in runs:
        settings = run.read_settings()
        found = [setting(settings, name) for name in names]
        text = ", ".join(label(name, value) for name, value in zip(names, found, strict=True))
        groups.setdefault(text, []).append(run)
        values[text] = found
    if all(isinstance(value, int | float) for found in values.values() for value in found):
        return dict(sorted(groups.items(), key=lambda group: values[group[0]]))
    return groups


def group_by_differences(runs: Sequence[RunFolder], apart: str = "") -> dict[str, list[RunFolder]]:
    """Groups runs that differ only in their seed, and names each group by the settings that set it apart.

    The environment does not count as a difference, because each environment has a panel of its own.

    Args:
        runs: Runs to group.
        apart: A setting that does not count as a difference, because it is the axis of the picture.

    Raises:
        UserError: Settings cannot be read.
    """
    settings = [flat_settings(run, apart) for run in runs]
    names = _distinguishing(settings)
    groups: dict[str, list[RunFolder]] = {}
    for run, values in zip(runs, settings, strict=True):
        text = ", ".join(label(name, values[name]) for name in names if name in values)
        groups.setdefault(text, []).append(run)
    return groups


def flat_settings(run: RunFolder, apart: str = "") -> dict[str, Any]:
    """The settings of a run that count as differences, by their names without group, and its environment.

    Raises:
        UserError: The settings cannot be read.
    """
    data = run.read_settings()
    groups = [data[group] for group in GROUPS if group != "supervision" and isinstance(data.get(group), Mapping)]
    names = {name for part in groups for name in part} | {name for name in data if name not in GROUPS} | {"algorithm"}
    drawn = setting(data, "learning_rate_range") if "learning_rate_range" in names else None
    ignored = {*IGNORED, apart, *(["learning_rate"] if drawn else [])}
    values = {name: setting(data, name) for name in names - ignored}
    before = {name: value for name, value in _defaults().items() if name not in ignored}  # for runs that are older
    return {"environment": setting(data, "environment"), **before, **values}


def _defaults() -> dict[str, Any]:
    """The default settings of network, optimiser and run, in the form in which they are saved."""
    network, optimizer = asdict(NetworkSettings()), asdict(OptimizerSettings())
    own = {part.name: part.default for part in fields(Experiment) if part.default is not MISSING}
    data = {**own, "workers": available_cores(), **network, **optimizer}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}


def label(name: str, value: Any) -> str:
    """A setting and its value, short enough for a legend."""
    if name == "memory":
        return "no memory" if value == "none" else str(value)
    if name in BY_VALUE or name == "environment":
        return str(value)
    words = SHORT.get(name, name.replace("_", " "))
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {value:g}" if isinstance(value, int | float) else f"{words} {value}"


def _distinguishing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fewest settings, preferred ones first, that distinguish all different runs of each environment."""
    every = {name for values in settings for name in values} - {"environment"}
    order = sorted(every, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    chosen: list[str] = []
    whole = _kinds(settings, order)
    for name in order:
        now = _kinds(settings, chosen)
        if now == whole:
            break
        if _kinds(settings, [*chosen, name]) > now:
            chosen.append(name)
    return chosen


def _kinds(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int:
    """Number of different runs, judged by these settings and the environment only."""
    return len({tuple(repr(values.get(name)) for name in ("environment", *names)) for values in settings})
