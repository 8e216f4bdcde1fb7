"""The folder of a run: its settings, metrics, checkpoints and summary."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from asyncrl import given
from asyncrl.config import Experiment, from_dict, named_modules, setting, to_dict
from asyncrl.errors import UserError
from asyncrl.files import read_json, read_json_lines, write_bytes, write_text
from asyncrl.importing import trust_advice

LOCK = ".lock"


@dataclass(frozen=True)
class RunFolder:
    """Paths of everything that belongs to a run, and how to read and write it."""

    path: Path

    @property
    def experiment_file(self) -> Path:
        """All settings; they are enough to start the same run again."""
        return self.path / "experiment.yaml"

    @property
    def metrics_file(self) -> Path:
        """Metrics, one JSON line every few seconds."""
        return self.path / "metrics.jsonl"

    @property
    def summary_file(self) -> Path:
        """The last line of metrics and how the run ended."""
        return self.path / "summary.json"

    @property
    def curve_file(self) -> Path:
        """Picture of the learning curve, drawn when the run ends."""
        return self.path / "learning_curve.png"

    @property
    def checkpoints(self) -> Path:
        """Folder with one folder per checkpoint."""
        return self.path / "checkpoints"

    @property
    def replay(self) -> Path:
        """Folder of the copies of replay memories, one folder for each worker."""
        return self.path / "replay"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def log_file(self) -> Path:
        """Log of starts, restarts, warnings and ends, with their times."""
        return self.path / "log.txt"

    @property
    def stacks(self) -> Path:
        """Folder with the stack traces of workers that hung."""
        return self.path / "stacks"

    def forget_empty_stacks(self) -> None:
        """Removes the folder of stack traces if it is empty."""
        with contextlib.suppress(OSError):
            self.stacks.rmdir()

    @property
    def evaluations_file(self) -> Path:
        """Evaluations made during training, one JSON line each."""
        return self.path / "evaluations.jsonl"

    @property
    def trackers_file(self) -> Path:
        """The name of the run in each tracker, so that a resumed run continues under the same name."""
        return self.path / "trackers.json"

    @property
    def workers_file(self) -> Path:
        """What each worker is doing; replaced whenever a line of metrics is written."""
        return self.path / "workers.json"

    def cut_history(self, steps: int) -> int:
        """Moves metrics and evaluations after a step to `discarded.jsonl`, because the run continues from that step.

        Returns:
            Number of lines of metrics that were moved. A line that a crash cut short is dropped.
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

    @property
    def has_begun(self) -> bool:
        """Whether a run has written anything to the folder."""
        return any(path.name != LOCK for path in self.path.iterdir())

    def remove_if_empty(self) -> None:
        """Removes the folder if nothing was written to it and no other process works on it."""
        with contextlib.suppress(OSError, UserError), locked(self.path):
            if not self.has_begun:
                (self.path / LOCK).unlink()
                self.path.rmdir()

    def forget_the_end(self) -> None:
        """Deletes the summary and the evaluation of an earlier session, because the run continues."""
        for file in (self.summary_file, self.evaluation_file):
            file.unlink(missing_ok=True)

    def keep_old_experiment(self) -> None:
        """Copies the settings to `experiment-N.yaml` before they are replaced; N counts from 1."""
        number = 1
        while (old := self.path / f"experiment-{number}.yaml").exists():
            number += 1
        write_bytes(old, self.experiment_file.read_bytes())

    def write_experiment(self, experiment: Experiment) -> None:
        """Saves the settings."""
        write_text(self.experiment_file, yaml.safe_dump(to_dict(experiment), sort_keys=False, allow_unicode=True))

    def read_experiment(self, modules: Sequence[str] = ()) -> Experiment:
        """Reads the saved settings.

        Args:
            modules: Modules that the user named. The settings may import these and no others: a run folder may come
                from anywhere, and reading it must not run foreign code.

        Raises:
            UserError: The settings cannot be read, or they name a module that the user did not name.
        """
        data = self.read_settings()
        try:
            unnamed = named_modules(data) - set(modules)
            if unnamed:
                advice = trust_advice(named_modules(data), modules)
                raise UserError(f"it uses code that is not asyncrl's: {advice}")
            return from_dict(data)
        except UserError as error:
            raise UserError(f"{self.experiment_file}: {error}") from error

    def read_settings(self) -> Mapping[str, Any]:
        """Reads the saved settings as plain data, without importing anything.

        Raises:
            UserError: The settings cannot be read.
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
        """The result of `asyncrl eval --save`, in the form that `--json` prints."""
        return self.path / "evaluation.json"

    def read_summary(self) -> dict[str, Any] | None:
        """Reads how the run ended; returns None if it has not ended.

        Raises:
            UserError: The file is damaged.
        """
        return read_json(self.summary_file)

    def read_evaluation(self) -> dict[str, Any] | None:
        """Reads the saved evaluation; returns None if there is none.

        Raises:
            UserError: The file is damaged.
        """
        return read_json(self.evaluation_file)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Saves how the run ended."""
        write_text(self.summary_file, json.dumps(summary, indent=2) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Reads all lines of metrics; a last line that is still being written is left out.

        Raises:
            UserError: The file is missing or damaged.
        """
        return read_json_lines(self.metrics_file)

    def read_evaluations(self) -> list[dict[str, Any]]:
        """Reads all evaluations made during training; a last line that is still being written is left out.

        Raises:
            UserError: The file is damaged.
        """
        return read_json_lines(self.evaluations_file) if self.evaluations_file.exists() else []

    def read_workers(self) -> dict[str, Any] | None:
        """Reads what each worker was doing when the file was written; returns None if there is no file.

        Raises:
            UserError: The file is damaged.
        """
        return read_json(self.workers_file)


def new_run_folder(experiment: Experiment, algorithm: str, run_dir: Path | None, overwrite: bool) -> RunFolder:
    """Makes an empty folder for a new run; by default the first free `runs/ENV-ALGORITHM-N`.

    Args:
        experiment: Settings of the run.
        algorithm: Name of the algorithm.
        run_dir: Path of the folder; None for the default.
        overwrite: Delete the run that is in the folder.

    Raises:
        UserError: The folder is not empty, or it cannot be made.
    """
    try:
        if run_dir is None:
            return _first_free(Path("runs"), kind_of_run(experiment.environment, algorithm))
        if overwrite and run_dir.exists():
            open_run_folder(run_dir)  # refuses to delete a folder that is not a run
            with locked(run_dir):
                shutil.rmtree(run_dir)
        if run_dir.is_dir() and RunFolder(run_dir).has_begun:
            raise UserError(
                f"the run folder {run_dir} exists: go on with --resume, replace it with --overwrite, "
                "or choose another --run-dir"
            )
        run_dir.mkdir(parents=True, exist_ok=True)
        return RunFolder(run_dir)
    except OSError as error:
        raise UserError(f"cannot make the run folder {run_dir or 'runs'}: {error.strerror}") from error


def kind_of_run(environment: str, algorithm: str) -> str:
    """Returns environment and algorithm in a form that fits into a file name."""
    name = f"{environment}-{algorithm}".replace(f"{given.MODULE}:", "")
    return name.replace("/", "-").replace(":", "-")


def open_run_folder(path: Path) -> RunFolder:
    """Opens the folder of a run that exists.

    Raises:
        UserError: The folder does not exist, or it is not a run.
    """
    folder = RunFolder(path)
    if not path.exists():
        raise UserError(f"there is no run folder {path}: train one with 'asyncrl train ENV --run-dir {path}'")
    if not folder.experiment_file.is_file():
        raise UserError(f"{path} is not a run folder: it has no {folder.experiment_file.name}")
    return folder


def newest_run_folder(environment: str, algorithm: str | None) -> RunFolder:
    """Finds the run under `runs/` that was written to last, of an environment and, if it is given, an algorithm.

    Folders may have any name: their settings say what they are runs of. Folders with unreadable settings are skipped.

    Raises:
        UserError: There is no such run.
    """
    asked = {"environment": environment} | ({} if algorithm is None else {"algorithm": algorithm})
    folders = [file.parent for file in Path("runs").glob("*/experiment.yaml")]
    for path in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(UserError):
            settings = RunFolder(path).read_settings()
            if all(setting(settings, name) == value for name, value in asked.items()):
                return RunFolder(path)
    what = f"of {algorithm} on {environment}" if algorithm else f"on {environment}"
    raise UserError(f"there is no run {what} under runs/ to resume: name it with --run-dir")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder against other processes; the operating system releases the lock however this process ends.

    Raises:
        UserError: Another process holds the lock, or the folder cannot be written to.
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


def _is_until(line: bytes, steps: int) -> bool:
    """Returns whether a JSON line is complete and belongs to that step or an earlier one."""
    try:
        return line.endswith(b"\n") and int(json.loads(line)["steps"]) <= steps
    except (ValueError, TypeError, KeyError):
        return False


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
