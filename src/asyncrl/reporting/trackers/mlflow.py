"""The MLflow tracker."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrl import metrics
from asyncrl.reporting import names
from asyncrl.types import Video

if TYPE_CHECKING:
    from asyncrl.reporting.trackers.tracked_run import TrackedRun

STATUS = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
"""Our status of a run, and MLflow's."""
SQLITE = "sqlite:///"
LONGEST_PARAMETER = 500
"""Characters of a setting's value; some MLflow stores refuse longer ones."""


class MLflow:
    """A run in the store that MLFLOW_TRACKING_URI names, by default mlflow.db in the current folder.

    MLflow cannot show histograms.
    """

    name = "MLflow"

    def __init__(self, run: TrackedRun) -> None:
        self.tracked, self.status = run, "KILLED"

    def open(self) -> None:
        """Creates or resumes the run, and stores its current settings as the artifact experiment.json."""
        from mlflow.tracking import MlflowClient, get_tracking_uri

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # else it logs every table that it creates
        _make_database(get_tracking_uri())
        self.client = MlflowClient()
        known = self.tracked.known_as("mlflow")
        if known is None:
            self.id = self._create()
            self.tracked.remember("mlflow", self.id)  # now, so that a failure below does not create a second run
        else:
            self.id = known
            self.client.update_run(self.id, status="RUNNING")
        if not self.client.get_run(self.id).data.params:
            self._log_settings()
        self.client.log_dict(self.id, dict(self.tracked.settings), "experiment.json")

    def _create(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", self.tracked.project)
        experiment = self.client.get_experiment_by_name(name)
        key = self.client.create_experiment(name) if experiment is None else experiment.experiment_id
        return str(self.client.create_run(key, run_name=self.tracked.name).info.run_id)

    def _log_settings(self) -> None:
        from mlflow.entities import Param

        # MLflow's parameters cannot be changed, so a resumed run keeps those of its first session
        parameters = [Param(name, str(value)[:LONGEST_PARAMETER]) for name, value in _flat(self.tracked.settings)]
        self.client.log_batch(self.id, params=parameters)

    def write(self, line: dict[str, Any]) -> None:
        """Logs one line."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        values = [Metric(name, value, now, line[metrics.STEPS]) for name, value in names.grouped(line).items()]
        self.client.log_batch(self.id, metrics=values)

    def write_video(self, video: Video, steps: int) -> None:
        """Stores an episode as an artifact of the run."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"step-{steps:012d}.gif"
            file.write_bytes(video.gif)
            self.client.log_artifact(self.id, str(file), names.VIDEO)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Stores how the run ended, as tags."""
        self.status = STATUS[summary["status"]]
        for key in names.SUMMARY:
            self.client.set_tag(self.id, f"asyncrl.{key}", str(summary[key]))

    def close(self) -> None:
        """Ends the run."""
        self.client.set_terminated(self.id, self.status)


def _make_database(uri: str) -> None:
    """Creates the local database of a URI if it does not exist, and makes it appear only when it is complete.

    MLflow itself leaves a broken database behind if the program ends, or another run starts, while it creates one.
    """
    if not uri.startswith(SQLITE) or (path := Path(uri.removeprefix(SQLITE))).exists():
        return
    from mlflow.tracking import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mlflow-") as folder:
        made, whole = Path(folder) / "made.db", Path(folder) / "whole.db"
        MlflowClient(f"{SQLITE}{made}").search_experiments()
        with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(whole)) as target:
            source.backup(target)
        try:
            path.hardlink_to(whole)
        except FileExistsError:  # another run created it first
            pass
        except OSError:  # this file system has no hard links
            whole.replace(path)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
