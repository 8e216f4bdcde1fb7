"""Environments that draw from process-wide random generators: `random`, `numpy.random` and `torch`."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import asyncrl
import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.callbacks import Callback, EpisodeEnded
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.global_random import GlobalRandom
from asyncrl.runtime.serial import SerialWorkers
from asyncrl.runtime.supervisor import Supervisor
from tests.experiments import small
from tests.runtime.test_resume import assert_equal, notes, train

pytestmark = pytest.mark.timeout(120)

SOURCES = ("random", "numpy", "torch")


class Returns(Callback):
    """Keeps the returns of each worker's episodes."""

    def __init__(self) -> None:
        self.found: dict[int, list[float]] = {0: [], 1: []}

    def on_episode(self, episode: EpisodeEnded) -> None:
        self.found[episode.worker].append(episode.total_reward)


def returns(folder: str, source: str, runtime: str, seed: int = 1, **settings: Any) -> dict[int, list[float]]:
    """Returns of the training episodes of two workers; each number that was drawn from a generator is in one."""
    callback = Returns()
    known: dict[str, Any] = {"workers": 2, "envs_per_worker": 4, "until_return": None, "steps": 600}
    environment = "tests.environments:test/Drawn-v0"
    asyncrl.train(
        *(environment,),
        **{**known, **settings},
        environment_options={"source": source},
        runtime=runtime,
        seed=seed,
        run_dir=folder,
        callbacks=[callback],
    )
    return callback.found


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncrl.analysis.curves.plot_runs", lambda *_: None)  # it takes its time


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("runtime", ["serial", "processes"])
def test_workers_and_seeds_draw_other_numbers(in_tmp: Path, source: str, runtime: str) -> None:
    one = returns("one", source, runtime)
    other = returns("other", source, runtime, seed=2)
    groups = [set(one[0]), set(one[1]), set(other[0]), set(other[1])]
    assert all(len(group) > 2 for group in groups)
    assert len(set.union(*groups)) == sum(map(len, groups))


@pytest.mark.parametrize("source", SOURCES)
def test_serial_runs_of_one_seed_repeat(in_tmp: Path, source: str) -> None:
    random.seed(7)
    one = returns("one", source, "serial")
    np.random.random()  # noqa: NPY002  (the state outside of the run does not matter)
    random.random()
    torch.rand(())
    assert returns("two", source, "serial", eval_every=200, eval_episodes=3) == one  # nor do evaluations


def test_serial_runs_leave_the_generators_of_the_program_alone(in_tmp: Path) -> None:
    def draws() -> tuple[float, ...]:
        return random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002

    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    expected = draws()
    for source in SOURCES:
        random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
        returns(source, source, "serial", eval_every=200, eval_episodes=3)
        assert draws() == expected


def test_a_restarted_worker_draws_other_numbers(tmp_path: Path) -> None:
    experiment = small("test/Drawn-v0")
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    setup, drawn = supervisor.pool.setup(0), []
    for attempt in (0, 0, 1):
        workers = SerialWorkers()
        workers.start(dataclasses.replace(setup, attempt=attempt))
        workers.poll(0.0)
        drawn.append(workers.workers[0].collector.buffer.rewards.copy())
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("source", SOURCES)
def test_a_resumed_run_draws_what_the_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr("asyncrl.runtime.supervisor.METRICS_SECONDS", (0.0, 0.0))
    settings: dict[str, Any] = {"environment": "test/Drawn-v0", "environment_options": {"source": source}}
    settings |= {"workers": 2, "steps": 900}
    whole = train(tmp_path / "whole", **settings)
    notes.clear()
    train(tmp_path / "parts", stop_at=400, **settings)
    assert_equal(whole, train(tmp_path / "parts", **settings))
    assert notes == []


def test_states_survive_a_checkpoint() -> None:
    one, other = (GlobalRandom(np.random.SeedSequence(seed)) for seed in (1, 2))

    def draws(generators: GlobalRandom) -> tuple[float, ...]:
        with generators.swapped_in():
            return random.gauss(), np.random.standard_normal(), float(torch.rand(()))  # noqa: NPY002

    assert draws(one) != draws(other)
    other.restore(one.tensors())
    assert draws(one) == draws(other)
    other.restore({})  # a checkpoint of an earlier version
    assert draws(one) == draws(other)
