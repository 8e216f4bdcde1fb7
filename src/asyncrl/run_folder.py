"""The folder of a run: settings, metrics, checkpoints, summary."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from asyncrl.config import Experiment, from_dict, named_modules, to_dict
from asyncrl.errors import UserError

LOCK = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """Where everything of a run lies."""

    path: Path

    @property
    def experiment_file(self) -> Path:
        """Every setting, enough to start the same run again."""
        return self.path / "experiment.yaml"

    @property
    def metrics_file(self) -> Path:
        """A line of JSON every few seconds."""
        return self.path / "metrics.jsonl"

    @property
    def summary_file(self) -> Path:
        """The last line of metrics, and how the run ended."""
        return self.path / "summary.json"

    @property
    def curve_file(self) -> Path:
        """The learning curve, drawn when the run ends."""
        return self.path / "learning_curve.png"

    @property
    def checkpoints(self) -> Path:
        """One folder for each checkpoint kept."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def log_file(self) -> Path:
        """What happened to the run, with the time: starts, restarts, warnings, ends."""
        return self.path / "log.txt"

    @property
    def stacks(self) -> Path:
        """Stacks of workers that hung."""
        return self.path / "stacks"

    def forget_empty_stacks(self) -> None:
        """Takes away the folder of stacks if there are none."""
        with contextlib.suppress(OSError):
            self.stacks.rmdir()

    @property
    def evaluations_file(self) -> Path:
        """A line of JSON for each evaluation that was made while training."""
        return self.path / "evaluations.jsonl"

    @property
    def trackers_file(self) -> Path:
        """By which name each tracker knows the run, so that a resumed one goes on in the same."""
        return self.path / "trackers.json"

    @property
    def workers_file(self) -> Path:
        """What each worker is at, replaced with each line of metrics."""
        return self.path / "workers.json"

    def cut_history(self, steps: int) -> int:
        """Makes ready for work to go on from that step: what was written of later steps goes to `discarded.jsonl`.

        Returns:
            Number of lines of metrics that went there; of a line that a crash cut short nothing is kept.
        """
        removed = 0
        for file in (self.metrics_file, self.evaluations_file):
            if not file.exists():
                continue
            lines = file.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if _is_until(line, steps)]
            if len(kept) == len(lines):
                continue
            undone = [line for line in lines if not _is_until(line, steps) and line.endswith(b"\n")]
            with (self.path / "discarded.jsonl").open("ab") as discarded:
                discarded.writelines(undone)
            write_bytes(file, b"".join(kept))
            removed += len(undone) if file == self.metrics_file else 0
        return removed

    def remove_if_empty(self) -> None:
        """Takes the folder away again when nothing was written to it."""
        with contextlib.suppress(OSError):  # it is not empty
            if not self.experiment_file.exists():
                (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()

    def forget_the_end(self) -> None:
        """Takes away what was said when an earlier session ended: the run goes on."""
        for file in (self.summary_file, self.evaluation_file):
            file.unlink(missing_ok=True)

    def keep_old_experiment(self) -> None:
        """Copies the settings to `experiment-N.yaml`, N counting from 1, before others take their place."""
        number = 1
        while (old := self.path / f"experiment-{number}.yaml").exists():
            number += 1
        write_bytes(old, self.experiment_file.read_bytes())

    def write_experiment(self, experiment: Experiment) -> None:
        """Saves the settings."""
        write_text(self.experiment_file, yaml.safe_dump(to_dict(experiment), sort_keys=False, allow_unicode=True))

    def read_experiment(self, modules: Sequence[str] = ()) -> Experiment:
        """The settings that were saved.

        Args:
            modules: That the user named, and that the settings may import therefore: a run folder may come from
                anywhere, and reading it must not run code.

        Raises:
            UserError: They cannot be read, or name a module that the user did not.
        """
        data = self.read_settings()
        try:
            unnamed = named_modules(data) - set(modules)
            if unnamed:
                options = " ".join(f"--import {name}" for name in sorted(unnamed))
                raise UserError(f"it uses code that is not asyncrl's: if you trust that code, add {options}")
            return from_dict(data)
        except UserError as error:
            raise UserError(f"{self.experiment_file}: {error}") from error

    def read_settings(self) -> Mapping[str, Any]:
        """The settings that were saved as plain data: nothing is imported.

        Raises:
            UserError: They cannot be read.
        """
        try:
            data = yaml.safe_load(self.experiment_file.read_text("utf-8"))
        except (OSError, ValueError, yaml.YAMLError, RecursionError, OverflowError) as error:
            raise UserError(f"{self.experiment_file} cannot be read ({type(error).__name__})") from error
        if not isinstance(data, Mapping):
            raise UserError(f"{self.experiment_file} holds no settings: it should have lines 'setting: value'")
        return data

    @property
    def evaluation_file(self) -> Path:
        """What `asyncrl eval --save` found, as its `--json` prints it."""
        return self.path / "evaluation.json"

    def read_summary(self) -> dict[str, Any] | None:
        """How the run ended, or None if it has not.

        Raises:
            UserError: The file is damaged.
        """
        return _read_json(self.summary_file)

    def read_evaluation(self) -> dict[str, Any] | None:
        """The saved evaluation, or None if there is none.

        Raises:
            UserError: The file is damaged.
        """
        return _read_json(self.evaluation_file)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Saves how the run ended."""
        write_text(self.summary_file, json.dumps(summary, indent=2) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics so far; a last line still being written is left out.

        Raises:
            UserError: The file is missing or damaged.
        """
        return _read_json_lines(self.metrics_file)

    def read_evaluations(self) -> list[dict[str, Any]]:
        """All evaluations that were made while training; a last line still being written is left out.

        Raises:
            UserError: The file is damaged.
        """
        return _read_json_lines(self.evaluations_file) if self.evaluations_file.exists() else []

    def read_workers(self) -> dict[str, Any] | None:
        """What each worker was at when the file was last written, or None if there is none.

        Raises:
            UserError: The file is damaged.
        """
        return _read_json(self.workers_file)


def new_run_folder(experiment: Experiment, algorithm: str, run_dir: Path | None, overwrite: bool) -> RunFolder:
    """An empty folder for a new run; by default the first free `runs/ENV-ALGORITHM-N`.

    Raises:
        UserError: It exists already, or cannot be made.
    """
    try:
        if run_dir is None:
            return _first_free(Path("runs"), kind_of_run(experiment.environment, algorithm))
        if overwrite and run_dir.exists():
            open_run_folder(run_dir)  # only ever deletes runs
            with locked(run_dir):
                shutil.rmtree(run_dir)
        if run_dir.is_dir() and any(run_dir.iterdir()):
            raise UserError(
                f"the run folder {run_dir} exists: go on with --resume, replace it with --overwrite, "
                "or choose another --run-dir"
            )
        run_dir.mkdir(parents=True, exist_ok=True)
        return RunFolder(run_dir)
    except OSError as error:
        raise UserError(f"cannot make the run folder {run_dir or 'runs'}: {error.strerror}") from error


def kind_of_run(environment: str, algorithm: str) -> str:
    """Environment and algorithm as part of a file's name."""
    return f"{environment}-{algorithm}".replace("/", "-").replace(":", "-")


def open_run_folder(path: Path) -> RunFolder:
    """The folder of a run that exists.

    Raises:
        UserError: It is not there, or is no run.
    """
    folder = RunFolder(path)
    if not path.exists():
        raise UserError(f"there is no run folder {path}: train one with 'asyncrl train ENV --run-dir {path}'")
    if not folder.experiment_file.is_file():
        raise UserError(f"{path} is not a run folder: it has no {folder.experiment_file.name}")
    return folder


def newest_run_folder(environment: str, algorithm: str | None) -> RunFolder:
    """The run of that environment (and algorithm, if one is named) under `runs/` that was written to last.

    Raises:
        UserError: There is none.
    """
    name = kind_of_run(environment, algorithm or "*")
    found = [path for path in Path("runs").glob(f"{name}-*") if (path / "experiment.yaml").is_file()]
    if not found:
        what = f"of {algorithm} on {environment}" if algorithm else f"on {environment}"
        raise UserError(f"there is no run {what} under runs/ to resume: name it with --run-dir")
    return RunFolder(max(found, key=lambda path: path.stat().st_mtime))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing to a folder; the system lifts the lock when this one ends, however it ends.

    Raises:
        UserError: Another process has it.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process works on {folder}: wait for it, stop it, or choose another folder") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written to ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


def write_text(path: Path, text: str, lasting: bool = True) -> None:
    """Replaces a file whole, as `write_bytes` does."""
    write_bytes(path, text.encode(), lasting)


def write_bytes(path: Path, data: bytes, lasting: bool = True) -> None:
    """Replaces a file whole: readers see the old bytes or the new, never a part.

    Args:
        path: The file.
        data: What it shall hold.
        lasting: Wait until a power failure could not undo it.

    Raises:
        OSError: There is no room; the old file is still there.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("wb") as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def _is_until(line: bytes, steps: int) -> bool:
    """Whether a line of JSON is whole and of that step or an earlier one."""
    try:
        return line.endswith(b"\n") and int(json.loads(line)["steps"]) <= steps
    except (ValueError, TypeError, KeyError):
        return False


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from error
    return data


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from error


def _first_free(parent: Path, name: str) -> RunFolder:
    number = 1
    while True:
        path = parent / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        return RunFolder(path)
