"""Many runs from one description: a grid or random draws of settings, times seeds; what is done is not done again."""

from __future__ import annotations

import csv
import itertools
import math
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from filelock import FileLock, Timeout

from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder, open_run_folder, write_text

SPECIFICATION = "sweep.yaml"
RESULTS = "results.csv"
RUNS, LOGS = "runs", "logs"

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


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
        own = [word for key, value in self.settings.items() for word in _option(key, value)]
        return [sweep.environment, *sweep.options, *own, "--seed", str(self.seed)]


def _option(key: str, value: str) -> list[str]:
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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second sweep out of the folder; the system lifts the lock when this process ends, however it ends.

    Raises:
        UserError: A sweep is at work there.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process works on the sweep {folder}: wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


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


@dataclass(frozen=True)
class Result:
    """What a trial that is done has reached."""

    trial: Trial
    score: float | None  # mean return in evaluation, or of the last 100 training episodes if there was none
    return_mean: float | None
    best_return_mean: float | None
    ended_by: str
    steps_done: int
    seconds: float  # of training

    @property
    def row(self) -> dict[str, Any]:
        """Settings and outcome side by side."""
        outcome = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "trial"}
        return {**self.trial.settings, "seed": self.trial.seed, **outcome}


@dataclass(frozen=True)
class Summary:
    """What the trials of one combination of the grid have reached; medians over runs but for the score."""

    settings: dict[str, str]
    runs: int
    score: float  # interquartile mean
    low: float  # of its 95 % interval
    high: float
    goals: int  # runs that reached --until-return
    steps_done: float
    seconds: float


@dataclass(frozen=True)
class Ended:
    """A trial that ended just now, or before."""

    trial: Trial
    run: RunFolder
    error: str = ""  # one line; empty if it is done


def run_sweep(folder: Path, sweep: Sweep, parallel: int, report: Callable[[Ended], None]) -> bool:
    """Makes all runs that are not done yet, `parallel` at a time, each a process of its own.

    Args:
        folder: Of the sweep.
        sweep: What to run.
        parallel: Runs at the same time.
        report: Called for each trial that ends.

    Returns:
        Whether it came to its end; false if Ctrl-C or a SIGTERM stopped it, with a checkpoint of each run.
    """
    (folder / LOGS).mkdir(exist_ok=True)
    waiting = [trial for trial in sweep.trials() if not _done(folder, trial, sweep)]
    running: dict[subprocess.Popen[bytes], tuple[Trial, list[list[str]]]] = {}
    stopped = False

    def stop(_number: int, _frame: Any) -> None:
        nonlocal stopped
        stopped = True

    previous = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        while running or (waiting and not stopped):
            while waiting and len(running) < parallel and not stopped:
                trial = waiting.pop(0)
                first, *rest = _commands(folder, trial, sweep)
                running[_start(folder, trial, first)] = trial, rest
            time.sleep(0.05)
            if stopped:
                for process in running:
                    process.terminate()  # again: a run may have begun as the signal came
            for process in [process for process in running if process.poll() is not None]:
                trial, rest = running.pop(process)
                if process.returncode == 0 and rest and not stopped:
                    running[_start(folder, trial, rest[0])] = trial, rest[1:]
                elif not stopped:
                    report(_ended(folder, trial, process))
    finally:
        for process in running:
            process.kill()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return not stopped


def done_runs(folder: Path, sweep: Sweep) -> list[tuple[Trial, RunFolder]]:
    """The trials that need nothing more, and their runs."""
    return [(trial, _run(folder, trial)) for trial in sweep.trials() if _done(folder, trial, sweep)]


def write_results(folder: Path, sweep: Sweep) -> list[Result]:
    """Writes a row for each trial that is done to `results.csv`, and returns the same."""
    results = []
    for trial, run in done_runs(folder, sweep):
        summary, evaluation = run.read_summary() or {}, run.read_evaluation() if sweep.episodes else None
        results.append(
            Result(
                trial,
                score=summary["return_mean"] if evaluation is None else evaluation["return_mean"],
                return_mean=summary["return_mean"],
                best_return_mean=summary["best_return_mean"],
                ended_by=summary["ended_by"],
                steps_done=summary["steps"],
                seconds=summary["wall_seconds"],
            )
        )
    if results:
        staging = folder / f".{RESULTS}"
        with staging.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(results[0].row))
            writer.writeheader()
            writer.writerows(result.row for result in results)
        staging.replace(folder / RESULTS)
    return results


def _plain(sweep: Sweep) -> dict[str, Any]:
    data = asdict(sweep)
    data["draw"] = {name: list(bounds) for name, bounds in sweep.draw.items()}
    return data


def _run(folder: Path, trial: Trial) -> RunFolder:
    return RunFolder(folder / RUNS / trial.name)


def _done(folder: Path, trial: Trial, sweep: Sweep) -> bool:
    run = _run(folder, trial)
    summary = run.read_summary()
    trained = summary is not None and summary["status"] == "done"
    return trained and (sweep.episodes == 0 or run.evaluation_file.exists())


def _commands(folder: Path, trial: Trial, sweep: Sweep) -> Iterator[list[str]]:
    """What is left to do for a trial: train it (from its checkpoint, if it has one), and evaluate it."""
    run = _run(folder, trial)
    path, summary = str(run.path), run.read_summary()
    if summary is None or summary["status"] != "done":
        if any(run.checkpoints.glob("step-*")):
            yield ["train", "--resume", "--run-dir", path]
        else:
            again = ["--overwrite"] if run.experiment_file.exists() else []
            yield ["train", *trial.arguments(sweep), "--run-dir", path, *again]
    if sweep.episodes:
        greedy = ["--deterministic"] if sweep.deterministic else []
        yield ["eval", path, "--episodes", str(sweep.episodes), "--save", *greedy]


def _start(folder: Path, trial: Trial, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    # a session of its own: Ctrl-C in the terminal reaches the sweep, which then asks its runs to stop
    command = [sys.executable, "-m", "asyncrl", *arguments]
    with _log(folder, trial).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def _ended(folder: Path, trial: Trial, process: subprocess.Popen[bytes]) -> Ended:
    error = ""
    if process.returncode != 0:
        lines = [line for line in _log(folder, trial).read_text(errors="replace").splitlines() if line.strip()]
        error = next((line for line in reversed(lines) if "Error" in line or line.startswith("error")), "")
        error = error or (lines[-1] if lines else f"exit code {process.returncode}")
    return Ended(trial, _run(folder, trial), error)


def _log(folder: Path, trial: Trial) -> Path:
    return folder / LOGS / f"{trial.name}.log"


def summarise(results: Sequence[Result], grid: Sequence[str]) -> list[Summary]:
    """One summary for each combination of the grid."""
    from asyncrl.analysis.statistics import bootstrap_interval, interquartile_mean

    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result.trial.settings[name] for name in grid), []).append(result)
    summaries = []
    for values, members in groups.items():
        scores = [result.score for result in members if result.score is not None] or [math.nan]
        low, high = bootstrap_interval(scores)
        summaries.append(
            Summary(
                settings=dict(zip(grid, values, strict=True)),
                runs=len(members),
                score=float(interquartile_mean(scores)),
                low=float(low),
                high=float(high),
                goals=sum(result.ended_by == "goal" for result in members),
                steps_done=median(result.steps_done for result in members),
                seconds=median(result.seconds for result in members),
            )
        )
    return summaries
