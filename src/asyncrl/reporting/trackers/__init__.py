"""Trackers: services that store the metrics of many runs; one module for each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment, to_dict
from asyncrl.errors import UserError
from asyncrl.installing import install_command
from asyncrl.reporting.background import BackgroundSink, Tracker
from asyncrl.reporting.trackers.tracked_run import TrackedRun
from asyncrl.run_folder import RunFolder, kind_of_run

NAMES = {"wandb": "Weights & Biases", "mlflow": "MLflow", "trackio": "trackio"}
"""Full names of the trackers. The key is the setting's value, and the name of the extra and of the module."""


def check_installed(trackers: Sequence[str]) -> None:
    """Makes sure that the packages of trackers are installed.

    Raises:
        UserError: One is missing.
    """
    for tracker in trackers:
        if importlib.util.find_spec(tracker) is None:
            raise UserError(f"{NAMES[tracker]} is not installed: {install_command(f'asyncrl[{tracker}]')}")


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
