"""workers.json: what each worker is at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.callbacks import Callback, Updated
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.worker_states import WorkerStates
from asyncrl.types import Report
from tests.experiments import small


def supervisor_of(folder: Path, notices: list[str], environment: str = "Catch-v0", **settings: object) -> Supervisor:
    folder.mkdir()
    experiment = small(environment, workers=2, **settings)
    return Supervisor(experiment, describe(experiment), RunFolder(folder), notify=notices.append)


def test_a_run_tells_what_its_workers_did(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path / "run", [])
    supervisor.run([])
    data = supervisor.folder.read_workers()
    assert data is not None
    assert [worker["state"] for worker in data["workers"]] == ["ended", "ended"]
    assert [worker["worker"] for worker in data["workers"]] == [0, 1]
    assert sum(worker["steps"] for worker in data["workers"]) == supervisor.shared.counter.steps >= 400
    assert sum(worker["updates"] for worker in data["workers"]) == supervisor.shared.counter.updates > 0
    for worker in data["workers"]:
        assert sum(worker["shares"].values()) == pytest.approx(1, abs=0.01)
        assert worker["last_failure"] is None


def test_workers_without_restarts_left_are_gone(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path / "run", [], "test/Crash-v0", steps=10_000, restarts=1)
    assert supervisor.run([]).status == "failed"
    data = supervisor.folder.read_workers()
    assert data is not None
    for worker in data["workers"]:
        assert (worker["state"], worker["attempt"], worker["process"]) == ("gone", 1, None)
        assert worker["last_failure"] == "failed with ZeroDivisionError: the simulator broke"


@dataclass
class Living:
    process_ids: dict[int, int] = field(default_factory=dict)


def test_the_states_on_a_worker_s_way(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path / "run", [])
    living, restarts = Living({0: 11, 1: 12}), supervisor.pool.restarts
    states = WorkerStates(tmp_path / "workers.json", living, restarts, supervisor.shared.counter)

    def seen() -> list[str]:
        states.write({})
        data = RunFolder(tmp_path).read_workers()
        assert data is not None
        return [worker["state"] for worker in data["workers"]]

    assert seen() == ["starting", "starting"]
    restarts.heard(Report(0))
    assert seen() == ["working", "starting"]
    del living.process_ids[1]
    restarts.failed(Failure(1, "fell\nbadly"), running=1)
    assert seen() == ["working", "waiting"]
    assert restarts.pop_due() == [1]
    living.process_ids[1] = 13
    assert seen() == ["working", "starting"]
    data = RunFolder(tmp_path).read_workers()
    assert data is not None
    assert data["workers"][1]["process"] == 13
    assert data["workers"][1]["last_failure"] == "fell"
    del living.process_ids[1]
    restarts.failed(Failure(1, "fell again"), running=1)
    assert seen() == ["working", "waiting"]
    states.end()
    assert seen() == ["ended", "ended"]
    data = RunFolder(tmp_path).read_workers()
    assert data is not None
    assert [worker["process"] for worker in data["workers"]] == [None, None]


class Stop(Callback):
    """Ends a run in the midst of it."""

    def on_updates(self, updates: Updated) -> bool:
        return True


def test_no_worker_of_a_run_that_was_ended_is_said_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = supervisor_of(tmp_path / "run", [], steps=10_000)
    last = Report(1, seconds={"act": 1e6})
    monkeypatch.setattr("asyncrl.runtime.serial.SerialWorkers.stop", lambda _: [last])  # as processes' workers do
    assert supervisor.run([], [Stop()]).summary["ended_by"] == "callback"
    data = supervisor.folder.read_workers()
    assert data is not None
    assert [(worker["state"], worker["process"]) for worker in data["workers"]] == [("ended", None)] * 2
    assert data["workers"][1]["shares"]["act"] == pytest.approx(1.0)


def test_a_file_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    notices: list[str] = []
    supervisor = supervisor_of(tmp_path / "run", notices)
    supervisor.folder.workers_file.mkdir()
    assert supervisor.run([]).status == "done"
    assert [notice for notice in notices if notice.startswith("warning: workers.json cannot be written")]
