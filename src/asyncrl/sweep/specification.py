"""The description of a sweep: a grid or random draws of settings, times seeds; and the folder that keeps it."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from asyncrl.errors import UserError
from asyncrl.files import write_text
from asyncrl.importing import modules_in
from asyncrl.run_folder import RunFolder, open_run_folder

SPECIFICATION = "sweep.yaml"
RUNS = "runs"


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

    def modules(self, sweep: Sweep) -> list[str]:
        """Modules that the arguments name, as in `--algorithm my_module:MyAlgorithm`; found without importing them.

        Every word with a colon counts, because a sweep from elsewhere must not import what the user did not name.
        """
        return sorted(modules_in(_value(word) for word in self.arguments(sweep)))


def option(key: str, value: str) -> list[str]:
    """The words that give a setting a value on the command line."""
    name = key.replace("_", "-")
    if value in ("true", "false"):
        return [f"--{name}" if value == "true" else f"--no-{name}"]
    return [f"--{name}", *value.split()]


def _value(word: str) -> str:
    """The value in a word of a command line: the right-hand side of --option=value, or the whole word."""
    return word.partition("=")[2] if word.startswith("--") else word


def open_sweep(folder: Path, sweep: Sweep | None) -> Sweep:
    """The sweep of a folder. A new sweep is written to the folder; a sweep that is there already must be the same.

    Raises:
        UserError: The folder holds another sweep, or none and none is given, or it cannot be read or written.
    """
    file = folder / SPECIFICATION
    try:
        if file.exists():
            saved = Sweep(**yaml.safe_load(file.read_text()))
            if sweep is not None and _plain(sweep) != _plain(saved):
                raise UserError(
                    f"{folder} holds another sweep: choose another --dir, or continue that sweep with --dir alone"
                )
            return saved
        if sweep is None:
            raise UserError(f"there is no sweep in {folder}: name an environment to start one")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} exists and holds no sweep: choose another --dir")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(file, yaml.safe_dump(_plain(sweep), sort_keys=False))
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise UserError(f"the sweep in {folder} cannot be read or written ({error})") from error
    return sweep


def runs_in(path: Path) -> list[RunFolder]:
    """The runs of a sweep that have started; or the one run, if the folder is that of a run.

    Raises:
        UserError: The folder is neither a sweep nor a run, or no run of the sweep has started.
    """
    if not (path / SPECIFICATION).is_file():
        return [open_run_folder(path)]
    runs = [RunFolder(folder) for folder in sorted((path / RUNS).glob("*"))]
    runs = [run for run in runs if run.metrics_file.is_file() and run.experiment_file.is_file()]
    if not runs:
        raise UserError(f"no run of the sweep {path} has started yet")
    return runs


def run_of(folder: Path, trial: Trial) -> RunFolder:
    """The folder of a trial's run, whether the run has started or not."""
    return RunFolder(folder / RUNS / trial.name)


def _plain(sweep: Sweep) -> dict[str, Any]:
    data = asdict(sweep)
    data["draw"] = {name: list(bounds) for name, bounds in sweep.draw.items()}
    return data
