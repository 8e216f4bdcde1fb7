"""The seam between memory and store carries an algorithm that replays: `tests/replay_q.py`, all of it in one file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asyncrl.agent import load
from asyncrl.api import train
from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.networks.assemble import Networks
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.worker import Worker, WorkerSetup
from asyncrl.types import Loss
from tests.experiments import small
from tests.learning.test_learning import GAMMA, STATES, true_action_values
from tests.replay_q import Minibatch, ReplayQ, UniformReplay

REPLAY = "tests.replay_q:ReplayQ"
SETTINGS: dict[str, Any] = {
    "rollout_length": 4,
    "envs_per_worker": 8,
    "final_epsilons": (0.1,),
    "exploration_steps": 10_000,
    "target_interval": 500,
    "initialization": "orthogonal",
    "schedule": "linear",
}


def worker(tmp_path: Path, **settings: Any) -> Worker:
    experiment = small(algorithm=REPLAY, **{**SETTINGS, "replay_start": 32, **settings})
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    return Worker(WorkerSetup(0, experiment, supervisor.info, supervisor.shared, tmp_path))


def error_on_the_chain(experiment: Experiment, folder: Path) -> float:
    """Trains on the chain, whose best actions must be found; the largest error of the learned action values."""
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(folder))
    supervisor.run([])
    supervisor.model.agent_tensors()
    outputs, _ = supervisor.model.network(torch.eye(STATES)[None], (), torch.ones(1, STATES, dtype=torch.bool))
    learned, truth = outputs["q"][0].detach().numpy(), true_action_values(None)
    assert (learned.argmax(1) == truth.argmax(1)).all()
    return float(np.abs(learned - truth).max())


def test_replay_reaches_the_action_values_of_dynamic_programming(tmp_path: Path) -> None:
    settings = {**SETTINGS, "final_epsilons": (0.3,), "learning_rate": 5e-3, "discount": GAMMA, "hidden": (32,)}
    experiment = small("test/SlipperyChain-v0", REPLAY, steps=25_000, **settings)
    assert error_on_the_chain(experiment, tmp_path) < 0.07


@pytest.mark.parametrize(
    "variant",
    [
        {"error": "squared"},
        {"double": True, "prioritized": "proportional"},
        {"dueling": True, "prioritized": "rank"},
    ],
)
def test_dqn_reaches_the_action_values_of_dynamic_programming(tmp_path: Path, variant: dict[str, Any]) -> None:
    settings = {**SETTINGS, "final_epsilons": (0.3,), "learning_rate": 1e-2, "discount": GAMMA, "hidden": (32,)}
    replay = {"replay_start": 500, "replay_capacity": 20_000, "replay_ratio": 4.0, "batch_size": 64}
    experiment = small("test/SlipperyChain-v0", "dqn", steps=16_000, **{**settings, **replay, **variant})
    assert error_on_the_chain(experiment, tmp_path) < 0.1


def test_replay_learns_catch_with_real_workers(in_tmp: Path) -> None:
    settings = {**SETTINGS, "hidden": (64,), "learning_rate": 1e-3, "until_return": None, "steps": 30_000}
    train("Catch", algorithm=REPLAY, workers=2, run_dir="run", **settings)
    assert load("run", modules=["tests.replay_q"]).evaluate(episodes=200, deterministic=True).return_mean >= 0.9


def test_each_item_is_learned_with_the_latest_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = worker(tmp_path)
    read: list[Tensor] = []
    loss = ReplayQ.loss

    def watched(algorithm: ReplayQ, networks: Networks, experience: Any) -> Loss:
        assert networks.online.flat is not None
        read.append(networks.online.flat.clone())
        assert torch.equal(networks.online.flat, made.store.shared.parameters.tensor)  # θ' = θ: one worker
        return loss(algorithm, networks, experience)

    monkeypatch.setattr(ReplayQ, "loss", watched)
    while not read:
        made.turn()
    assert len(read) == 4
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(read))


def test_what_is_pushed_is_heard_of_by_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = worker(tmp_path)
    memory, heard, dropped = made.memory, [], [False, True, False, False]
    assert isinstance(memory, UniformReplay)
    monkeypatch.setattr(memory, "learned", lambda batch, errors: heard.append((batch, errors)))
    push = made.store.push

    def refuse_some(gradient: Tensor, loss: Loss, experience: Any) -> bool:
        return push(gradient * float("nan") if dropped.pop(0) else gradient, loss, experience)

    monkeypatch.setattr(made.store, "push", refuse_some)
    while dropped:
        report = made.turn()
    assert (report.updates, report.dropped) == (3, 1)
    assert len(heard) == 3  # the update that was not finite taught nothing
    for batch, errors in heard:
        assert isinstance(batch, Minibatch)
        assert errors.shape == batch.rows.shape
        assert bool((errors >= 0).all())


def test_a_resumed_run_says_that_its_replay_memories_begin_empty(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"workers": 1, "run_dir": "run", "replay_start": 200, "replay_capacity": 2000}
    train("Catch", algorithm="dqn", steps=600, until_return=None, **settings)
    assert "begin empty" not in capsys.readouterr().out
    train("Catch", algorithm="dqn", steps=1200, resume=True, **settings)
    told = " ".join(capsys.readouterr().out.split())
    assert "replay memories begin empty, because they were not saved: workers learn again after" in told


@pytest.mark.parametrize(("steps", "warned"), [(500, True), (800, False)])
def test_a_run_that_ends_before_learning_begins_says_so_at_its_start(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], steps: int, warned: bool
) -> None:
    settings: dict[str, Any] = {"workers": 1, "runtime": "serial", "run_dir": "run", "until_return": None}
    result = train("Catch", algorithm="dqn", steps=steps, replay_start=600, quiet=True, **settings)
    text = "learn little or nothing: the run has 500 steps, and learning begins after 600 (--replay-start)"
    assert (text in capsys.readouterr().out) == warned
    assert (result.summary["updates"] == 0) == warned


def test_an_actor_critic_learns_before_anything_is_replayed(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {"workers": 1, "runtime": "serial", "steps": 500, "replay_start": 600, "quiet": True}
    result = train("Catch", algorithm="acer", run_dir="run", **settings)
    assert "the agent will replay little or nothing: the run has 500 steps" in capsys.readouterr().out
    assert result.summary["updates"] > 0
    train("Catch", algorithm="acer", run_dir="other", replay_ratio=0.0, **settings)
    assert "replay" not in capsys.readouterr().out
