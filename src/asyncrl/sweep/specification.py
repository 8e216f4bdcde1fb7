"""The description of a sweep: a grid or random draws of settings, times seeds."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from pathlib import Path

from asyncrl.sweep.folder import FolderKind
from asyncrl.sweep.planned_run import PlannedRun


@dataclass(frozen=True)
class Sweep:
    """The runs to make. Values of settings are texts, as on the command line of `asyncrl train`."""

    environment: str
    grid: dict[str, list[str]]  # values of each setting; all combinations are run
    draw: dict[str, tuple[float, float]]  # range of each setting, from which each run draws log-uniformly
    draws: int  # number of draws for each combination and seed
    seeds: list[int]
    options: list[str]  # words after `asyncrl train ENV`, the same for every run
    episodes: int  # in the evaluation of each trained agent; 0: no evaluation
    deterministic: bool  # whether that evaluation takes the best known actions

    def trials(self) -> list[Trial]:
        """All runs in the order in which they are made: all settings with the first seed, then with the next seed."""
        combinations = [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]
        trials = []
        for seed, number in itertools.product(self.seeds, range(self.draws)):
            drawn = self._drawn(seed, number)
            trials += [Trial({**combination, **drawn}, seed, number) for combination in combinations]
        return trials

    def _drawn(self, seed: int, number: int) -> dict[str, str]:
        """The drawn values, which are the same for all combinations, so that these are compared at equal values."""
        source = random.Random(f"{seed} {number}")
        ranges = {name: (math.log(low), math.log(high)) for name, (low, high) in self.draw.items()}
        return {name: f"{math.exp(source.uniform(low, high)):.6g}" for name, (low, high) in ranges.items()}


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    settings: dict[str, str]
    seed: int
    number: int  # number of the draw, from 0

    @property
    def name(self) -> str:
        """Name of the folder of the run."""
        parts = [f"{key}={value}" for key, value in self.settings.items()]
        parts += [f"seed={self.seed}", *([f"draw={self.number}"] if self.number else [])]
        return ",".join(parts).replace("/", "-").replace(" ", "_")

    def arguments(self, sweep: Sweep) -> list[str]:
        """The arguments of `asyncrl train` for this run."""
        own = [word for key, value in self.settings.items() for word in option(key, value)]
        return [sweep.environment, *sweep.options, *own, "--seed", str(self.seed)]

    def plan(self, folder: Path, sweep: Sweep) -> PlannedRun:
        """This run in the folder of its sweep."""
        return PlannedRun(folder, self.name, tuple(self.arguments(sweep)), sweep.episodes, sweep.deterministic)


def option(key: str, value: str) -> list[str]:
    """The words that give a setting a value on the command line."""
    name = key.replace("_", "-")
    if value in ("true", "false"):
        return [f"--{name}" if value == "true" else f"--no-{name}"]
    return [f"--{name}", *value.split()]


SWEEPS = FolderKind("sweep", Path("sweeps"), Sweep)
"""Folders of sweeps."""
