"""A rollout is a view of the collector's buffer; `kept` is a copy that lasts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.sarsa import Sarsa
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.guard import named_tensors
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.worker import Worker, WorkerSetup
from tests.experiments import small


@dataclass(frozen=True)
class RememberingA3C(A3C):
    """Keeps its policy at the time of acting."""

    @property
    def behaviour(self) -> tuple[str, ...]:
        return ("policy",)


@dataclass(frozen=True)
class RememberingSarsa(Sarsa):
    """Looks ahead, and keeps its values at the time of acting."""

    @property
    def behaviour(self) -> tuple[str, ...]:
        return ("q",)


@pytest.mark.parametrize(("name", "cls"), [("a3c", RememberingA3C), ("sarsa", RememberingSarsa)])
def test_views_change_with_the_next_rollout_and_copies_do_not(tmp_path: Path, name: str, cls: type) -> None:
    experiment = small(algorithm=name, memory="lstm", reward_clip=1.0)
    fields = {field.name: getattr(experiment.algorithm, field.name) for field in dataclasses.fields(cls)}
    experiment = dataclasses.replace(experiment, algorithm=cls(**fields))
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    worker = Worker(WorkerSetup(0, experiment, supervisor.info, supervisor.shared, tmp_path))
    rollout = worker.collector.collect(worker.policy)
    kept = rollout.kept()
    copies, views = dict(named_tensors(kept)), dict(named_tensors(rollout))
    before = {key: tensor.clone() for key, tensor in copies.items()}
    assert copies.keys() == views.keys()
    assert any(key.startswith("behaviour/") for key in copies)
    assert all(torch.equal(copies[key], views[key]) for key in copies)
    buffered = ("observations", "actions", "rewards", "discounts", "valid", "first")
    follows = worker.collector.collect(worker.policy)
    for key in buffered:
        assert views[key].data_ptr() == dict(named_tensors(follows))[key].data_ptr(), key
    assert all(torch.equal(copies[key], before[key]) for key in copies)
    assert not kept.activations


@pytest.mark.parametrize(("name", "cls", "head"), [("a3c", RememberingA3C, "policy"), ("sarsa", RememberingSarsa, "q")])
def test_the_behaviour_policy_is_kept_with_what_was_acted(tmp_path: Path, name: str, cls: type, head: str) -> None:
    experiment = small(algorithm=name)
    fields = {field.name: getattr(experiment.algorithm, field.name) for field in dataclasses.fields(cls)}
    experiment = dataclasses.replace(experiment, algorithm=cls(**fields))
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    worker = Worker(WorkerSetup(0, experiment, supervisor.info, supervisor.shared, tmp_path))
    for _ in range(2):  # nothing is learned in between, so the network that acted is still there
        rollout = worker.collector.collect(worker.policy)
        with torch.no_grad():
            truth = worker.networks.online.unroll(rollout, final=False)[head]
        torch.testing.assert_close(rollout.behaviour[head], truth)
