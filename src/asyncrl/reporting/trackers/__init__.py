"""Trackers: services that store the metrics of many runs; one module for each."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment, to_dict
from asyncrl.errors import UserError
from asyncrl.files import write_text
from asyncrl.reporting.background import BackgroundSink, Tracker
from asyncrl.run_folder import RunFolder, kind_of_run

NAMES = {"wandb": "Weights & Biases", "mlflow": "MLflow", "trackio": "trackio"}
"""Full names of the trackers. The key is the setting's value, and the name of the extra and of the module."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker needs to know about a run."""

    folder: RunFolder
    project: str  # environment and algorithm
    settings: Mapping[str, Any]  # of the experiment, as plain data
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.folder.path.resolve().name

    def known_as(self, tracker: str) -> str | None:
        """The identifier that a tracker gave the run in an earlier session; None if there was none.

        Raises:
            UserError: The file with the identifiers is damaged.
        """
        return self._names().get(tracker)

    def remember(self, tracker: str, name: str) -> None:
        """Saves the identifier that a tracker gave the run."""
        with self.lock:  # each tracker has a thread of its own
            write_text(self.folder.trackers_file, json.dumps({**self._names(), tracker: name}, indent=2) + "\n")

    def _names(self) -> dict[str, str]:
        file = self.folder.trackers_file
        try:
            names = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{file} cannot be read ({type(error).__name__})") from error
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise UserError(f"{file} should hold a name for each tracker: delete it to start new runs at the trackers")
        return names


def check_installed(trackers: Sequence[str]) -> None:
    """Makes sure that the packages of trackers are installed.

    Raises:
        UserError: One is missing.
    """
    for tracker in trackers:
        if importlib.util.find_spec(tracker) is None:
            raise UserError(f'{NAMES[tracker]} is not installed: pip install "asyncrl[{tracker}]"')


def make_trackers(experiment: Experiment, folder: RunFolder) -> list[BackgroundSink]:
    """A sink for each tracker that the experiment names; each has a thread of its own."""
    project = kind_of_run(experiment.environment, algorithm_name(experiment.algorithm))
    run = TrackedRun(folder, project, to_dict(experiment))
    return [BackgroundSink(_make(tracker)(run)) for tracker in experiment.supervision.trackers]


def _make(tracker: str) -> Callable[[TrackedRun], Tracker]:
    match tracker:
        case "wandb":
            from asyncrl.reporting.trackers.wandb import WeightsAndBiases

            return WeightsAndBiases
        case "mlflow":
            from asyncrl.reporting.trackers.mlflow import MLflow

            return MLflow
        case _:
            from asyncrl.reporting.trackers.trackio import Trackio

            return Trackio
