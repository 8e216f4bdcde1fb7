"""The store on shared memory: how θ⁻ follows θ, and what is kept away from θ."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from asyncrl.algorithms.base import TargetUpdate, Towards
from asyncrl.algorithms.nstep_q import NStepQ
from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.store import SharedMemoryStore
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.worker import Worker, WorkerSetup
from tests.experiments import small

INTERVAL = 100


class Run:
    """Workers of one run, and what they share, without a supervisor's loop."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self.supervisor = Supervisor(experiment, describe(experiment), RunFolder(folder))
        self.shared = self.supervisor.shared
        assert self.shared.target is not None
        self.target, self.parameters = self.shared.target.tensor, self.shared.parameters.tensor
        self.workers = [
            Worker(WorkerSetup(number, experiment, self.supervisor.info, self.shared, folder))
            for number in range(experiment.worker_count)
        ]

    def store(self, worker: int) -> SharedMemoryStore:
        store = self.workers[worker].store
        assert isinstance(store, SharedMemoryStore)
        return store

    def come_to_a_refresh(self) -> None:
        """Makes a refresh due without one being made."""
        self.shared.counter.advance(0, steps=INTERVAL)
        self.parameters.add_(1.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, small(algorithm="onestep-q", workers=2, target_interval=INTERVAL, steps=10_000))


def test_a_worker_that_dies_while_it_refreshes_loses_no_refresh(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    class Deadly:
        def copy_(self, _: Any) -> None:
            raise Killed

    run.come_to_a_refresh()
    monkeypatch.setattr(run.store(0), "target", Deadly())
    with pytest.raises(Killed):
        run.store(0)._refresh_target()
    assert run.shared.counter.refreshed_at == 0
    run.store(1)._refresh_target()
    assert torch.equal(run.target, run.parameters)
    assert run.shared.counter.refreshed_at == INTERVAL


def test_nobody_waits_for_a_refresh_and_the_supervisor_frees_the_lock_of_the_dead(run: Run) -> None:
    run.come_to_a_refresh()
    run.shared.refresh_lock.acquire()  # by a worker that is killed now
    before = run.target.clone()
    run.store(1)._refresh_target()
    assert torch.equal(run.target, before)
    assert run.shared.counter.refreshed_at == 0
    run.supervisor.pool.restarts.failed(Failure(0, "was killed"), running=1)
    run.store(1)._refresh_target()
    assert torch.equal(run.target, run.parameters)


def test_a_slower_worker_does_not_refresh_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.come_to_a_refresh()
    is_due = SharedMemoryStore._is_refresh_due
    seen = 0

    def overtaken(store: SharedMemoryStore, interval: int) -> bool:
        nonlocal seen
        answer, seen = is_due(store, interval), seen + 1
        if seen == 1:  # between this worker's look and its copy the other one refreshes, and θ goes on
            run.store(1)._refresh_target()
            run.parameters.add_(1.0)
        return answer

    monkeypatch.setattr(SharedMemoryStore, "_is_refresh_due", overtaken)
    run.store(0)._refresh_target()
    assert torch.equal(run.target + 1, run.parameters)
    assert run.shared.counter.refreshed_at == INTERVAL


@dataclass(frozen=True)
class AveragingQ(NStepQ):
    """n-step Q-learning whose target network is an average of the latest parameters."""

    @property
    def target_update(self) -> TargetUpdate:
        return Towards(0.9)


def test_a_target_can_be_an_average_of_the_latest_parameters(tmp_path: Path) -> None:
    experiment = small(algorithm="nstep-q")
    settings = {field.name: getattr(experiment.algorithm, field.name) for field in dataclasses.fields(NStepQ)}
    run = Run(tmp_path, dataclasses.replace(experiment, algorithm=AveragingQ(**settings)))
    expected = run.target.clone()
    for _ in range(5):
        run.workers[0].turn()
        expected = 0.9 * expected + 0.1 * run.parameters
        torch.testing.assert_close(run.target, expected)
    assert not torch.equal(run.target, run.parameters)
