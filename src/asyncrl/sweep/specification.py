"""What a sweep runs: a grid or random draws of settings, times seeds; and the folder it is kept in."""

from __future__ import annotations

import itertools
import math
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from asyncrl.errors import UserError
from asyncrl.files import write_text
from asyncrl.run_folder import RunFolder, open_run_folder

SPECIFICATION = "sweep.yaml"
RUNS = "runs"


@dataclass(frozen=True)
class Sweep:
    """Which runs to make; values are texts, as after the options of `asyncrl train`."""

    environment: str
    grid: dict[str, list[str]]  # setting → its values; all combinations are run
    draw: dict[str, tuple[float, float]]  # setting → range, drawn from log-uniformly for each run
    draws: int  # for each combination and seed
    seeds: list[int]
    options: list[str]  # for every run, as after `asyncrl train ENV`
    episodes: int  # to evaluate each agent with when it is trained; 0: no evaluation
    deterministic: bool  # in evaluation

    def trials(self) -> list[Trial]:
        """Every run, in the order in which they are made: all settings with the first seed, then with the next."""
        combinations = [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]
        trials = []
        for seed, number in itertools.product(self.seeds, range(self.draws)):
            drawn = self._drawn(seed, number)
            trials += [Trial({**combination, **drawn}, seed, number) for combination in combinations]
        return trials

    def _drawn(self, seed: int, number: int) -> dict[str, str]:
        """Equal for all combinations, so that they are compared at the same values."""
        source = random.Random(f"{seed} {number}")
        ranges = {name: (math.log(low), math.log(high)) for name, (low, high) in self.draw.items()}
        return {name: f"{math.exp(source.uniform(low, high)):.6g}" for name, (low, high) in ranges.items()}


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    settings: dict[str, str]
    seed: int
    number: int  # of the draw

    @property
    def name(self) -> str:
        """The name of its folder."""
        parts = [f"{key}={value}" for key, value in self.settings.items()]
        parts += [f"seed={self.seed}", *([f"draw={self.number}"] if self.number else [])]
        return ",".join(parts).replace("/", "-").replace(" ", "_")

    def arguments(self, sweep: Sweep) -> list[str]:
        """The arguments of `asyncrl train` that make it."""
        own = [word for key, value in self.settings.items() for word in option(key, value)]
        return [sweep.environment, *sweep.options, *own, "--seed", str(self.seed)]

    def modules(self, sweep: Sweep) -> list[str]:
        """Modules of other people that its arguments name, as in `--algorithm my_module:MyAlgorithm`."""
        values = [word.split("=", 1)[-1] if word.startswith("--") else word for word in self.arguments(sweep)]
        return sorted({value.split(":", 1)[0] for value in values if re.fullmatch(r"[\w.]+:[\w./:-]+", value)})


def option(key: str, value: str) -> list[str]:
    """The words of the command line that give a setting a value."""
    name = key.replace("_", "-")
    if value in ("true", "false"):
        return [f"--{name}" if value == "true" else f"--no-{name}"]
    return [f"--{name}", *value.split()]


def open_sweep(folder: Path, sweep: Sweep | None) -> Sweep:
    """The sweep of a folder: a new one is written to it, one that is there already must be the same.

    Raises:
        UserError: There is another sweep, or none and none is given; or the folder cannot be written.
    """
    file = folder / SPECIFICATION
    try:
        if file.exists():
            saved = Sweep(**yaml.safe_load(file.read_text()))
            if sweep is not None and _plain(sweep) != _plain(saved):
                raise UserError(f"{folder} holds another sweep: choose another --dir, or go on with it by --dir alone")
            return saved
        if sweep is None:
            raise UserError(f"there is no sweep in {folder}: name an environment to begin one")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} exists and holds no sweep: choose another --dir")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(file, yaml.safe_dump(_plain(sweep), sort_keys=False))
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise UserError(f"the sweep in {folder} cannot be read or written ({error})") from error
    return sweep


def runs_in(path: Path) -> list[RunFolder]:
    """The runs of a sweep's folder that have begun, or the one run that a folder is.

    Raises:
        UserError: It is neither, or nothing has run yet.
    """
    if not (path / SPECIFICATION).is_file():
        return [open_run_folder(path)]
    runs = [RunFolder(folder) for folder in sorted((path / RUNS).glob("*"))]
    runs = [run for run in runs if run.metrics_file.is_file() and run.experiment_file.is_file()]
    if not runs:
        raise UserError(f"no run of the sweep {path} has begun yet")
    return runs


def run_of(folder: Path, trial: Trial) -> RunFolder:
    """The run of a trial, whether it has begun or not."""
    return RunFolder(folder / RUNS / trial.name)


def _plain(sweep: Sweep) -> dict[str, Any]:
    data = asdict(sweep)
    data["draw"] = {name: list(bounds) for name, bounds in sweep.draw.items()}
    return data
