"""Runs put together by what they have in common, with the names that tell the groups apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import Any

from asyncrl.config import GROUPS, Experiment, available_cores, setting
from asyncrl.run_folder import RunFolder
from asyncrl.settings import NetworkSettings, OptimizerSettings

IGNORED = ("seed", "preset", "name", "environment", "until_return", "until_seconds")
"""Settings that make no other method of a run: its seed, where settings came from, when it ends."""
FIRST = ("algorithm", "memory", "optimizer", "learning_rate", "workers", "envs_per_worker", "rollout_length")
"""Settings that are named first where several would do."""
BY_VALUE = ("algorithm", "optimizer", "schedule", "torso", "activation", "runtime", "initialization")
"""Settings whose value says by itself what it is of."""
SHORT = {"learning_rate": "lr", "envs_per_worker": "envs", "max_gradient_norm": "clip"}


def group_runs(runs: Sequence[RunFolder], names: Sequence[str]) -> dict[str, list[RunFolder]]:
    """The runs by the values of some of their settings.

    Raises:
        UserError: A run has no such setting.
    """
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        settings = run.read_settings()
        groups.setdefault(", ".join(label(name, setting(settings, name)) for name in names), []).append(run)
    return groups


def group_by_differences(runs: Sequence[RunFolder], apart: str = "") -> dict[str, list[RunFolder]]:
    """Runs that differ in nothing but their seed together, each group named by what tells it from the others.

    Runs of different environments never differ by that: they stand in pictures of their own.

    Args:
        runs: To put together.
        apart: A setting that makes no difference here, because the picture has it as its axis.

    Raises:
        UserError: Settings cannot be read.
    """
    settings = [flat_settings(run, apart) for run in runs]
    names = _telling(settings)
    groups: dict[str, list[RunFolder]] = {}
    for run, values in zip(runs, settings, strict=True):
        text = ", ".join(label(name, values[name]) for name in names if name in values)
        groups.setdefault(text, []).append(run)
    return groups


def flat_settings(run: RunFolder, apart: str = "") -> dict[str, Any]:
    """The settings of a run that make a difference, by their own names, and its environment.

    Raises:
        UserError: They cannot be read.
    """
    data = run.read_settings()
    groups = [data[group] for group in GROUPS if group != "supervision" and isinstance(data.get(group), Mapping)]
    names = {name for part in groups for name in part} | {name for name in data if name not in GROUPS} | {"algorithm"}
    drawn = setting(data, "learning_rate_range") if "learning_rate_range" in names else None
    ignored = {*IGNORED, apart, *(["learning_rate"] if drawn else [])}
    values = {name: setting(data, name) for name in names - ignored}
    before = {name: value for name, value in _defaults().items() if name not in ignored}  # settings newer than the run
    return {"environment": setting(data, "environment"), **before, **values}


def _defaults() -> dict[str, Any]:
    """The settings of network, optimiser and run that have a default, as they are saved."""
    network, optimizer = asdict(NetworkSettings()), asdict(OptimizerSettings())
    own = {part.name: part.default for part in fields(Experiment) if part.default is not MISSING}
    data = {**own, "workers": available_cores(), **network, **optimizer}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}


def label(name: str, value: Any) -> str:
    """A setting and its value as a legend has room for."""
    if name == "memory":
        return "no memory" if value == "none" else str(value)
    if name in BY_VALUE or name == "environment":
        return str(value)
    words = SHORT.get(name, name.replace("_", " "))
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {value:g}" if isinstance(value, int | float) else f"{words} {value}"


def _telling(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fewest settings, the best known first, that tell all different runs of each environment apart."""
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
    """How many different runs there are if these settings and the environment are looked at."""
    return len({tuple(repr(values.get(name)) for name in ("environment", *names)) for values in settings})
