"""The description of a tuning: what is searched, and how each trial is trained and scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asyncrl.importing import modules_in
from asyncrl.sweep.folder import FolderKind
from asyncrl.sweep.planned_run import PlannedRun
from asyncrl.sweep.specification import option

Value = float | int | str
"""A value of a dimension: a number, a share of the steps, or one of the choices as a text."""


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched: log-uniformly between two numbers, or among choices."""

    low: float = 0.0
    high: float = 0.0
    whole: bool = False  # whether the numbers are whole
    of_steps: bool = False  # whether the numbers are shares of the run's steps
    choices: tuple[str, ...] = ()  # as on the command line; empty for numbers

    def contains(self, value: Value) -> bool:
        """Whether a value lies in the dimension."""
        return value in self.choices if isinstance(value, str) else self.low <= value <= self.high

    def text(self, value: Value, steps: int) -> str:
        """A value as on the command line, for a run of so many steps."""
        if isinstance(value, str):
            return value
        if self.of_steps:
            return str(max(1, round(value * steps)))
        return str(round(value)) if self.whole else f"{value:.4g}"

    def __str__(self) -> str:
        """The dimension for people."""
        if self.choices:
            return ", ".join(self.choices)
        return f"{self.low:g}:{self.high:g}{' of the steps' if self.of_steps else ''}"


@dataclass(frozen=True)
class Tuning:
    """What all trials of a tuning share."""

    environment: str
    options: tuple[str, ...]  # words after `asyncrl train ENV`, the same for every run
    search: dict[str, Dimension]
    seconds: float  # of training of each run
    seeds: tuple[int, ...]  # each trial has a run for each of them
    episodes: int  # in the evaluation of each trained agent
    deterministic: bool  # whether that evaluation takes the best known actions

    def plan(self, folder: Path, name: str, values: Mapping[str, Value], steps: int, seed: int) -> PlannedRun:
        """One run of a trial: its learning rate falls to zero over `steps`, and it ends when its time is over."""
        texts = {key: dimension.text(values[key], steps) for key, dimension in self.search.items()}
        words = [word for key, text in texts.items() for word in option(key, text)]
        words += ["--until-return", "None", "--steps", str(steps), "--until-seconds", str(self.seconds)]
        arguments = (self.environment, *self.options, *words, "--seed", str(seed))
        return PlannedRun(folder, name, arguments, self.episodes, self.deterministic)

    @property
    def modules(self) -> list[str]:
        """Modules that any of the runs would import, found without importing them."""
        return sorted(
            modules_in(
                [self.environment, *self.options, *(text for part in self.search.values() for text in part.choices)]
            )
        )


TUNINGS = FolderKind("tuning", Path("tunes"), Tuning)
"""Folders of tunings."""
