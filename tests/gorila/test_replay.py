"""Actors and learners with the replay memory between them: what is drawn, who waits for whom, and what fails."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asyncrl.algorithms.dqn import DQN
from asyncrl.config import Experiment, replaced
from asyncrl.envs.make import describe
from asyncrl.gorila import replay, replay_connection
from asyncrl.gorila.replay import Add, AskForRoom, Draw, Drawn, Learned, Origin, ReplayShard
from asyncrl.gorila.replay_connection import ReplayAddress, ReplayClient, ReplayServer
from asyncrl.gorila.roles import Actor, Learner, RoleSetup, is_actor
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.shared_model import SharedModel
from asyncrl.types import Progress, WorkerInfo
from tests.experiments import small
from tests.memory.test_replay import B, memory, played

pytestmark = pytest.mark.timeout(60)

KEY = b"a key that only this run has"
PROGRESS = Progress(0, 1000)


def separate(actors: int = 1, learners: int = 1, nodes: int = 1, **settings: Any) -> Experiment:
    """An experiment whose workers act or learn. Catch has 4 environments here and a rollout 4 steps."""
    sizes = {"replay_start": 32, "replay_capacity": 400, "batch_size": 8, "replay_ratio": 2.0, "rollout_length": 4}
    experiment = replaced(small(algorithm="dqn"), {**sizes, "workers": actors + learners, **settings})
    cluster = dataclasses.replace(experiment.cluster, nodes=nodes, actors=actors, learners=learners)
    return dataclasses.replace(experiment, runtime="ray", cluster=cluster)


@contextmanager
def served(shard: ReplayShard, port: int = 0) -> Iterator[tuple[str, int]]:
    """The address of a shard that answers."""
    server = ReplayServer(shard.answer, ("127.0.0.1", port), KEY)
    yield server.listener.address  # type: ignore[misc]
    server.close()


def setups(experiment: Experiment, address: tuple[str, int], folder: Path) -> list[RoleSetup]:
    info = describe(experiment)
    shared = SharedModel(experiment, info, process_context()).shared
    where = ReplayAddress((address,), KEY)
    return [
        RoleSetup(number, experiment, info, shared, folder, replay=where) for number in range(experiment.worker_count)
    ]


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("prioritized", ["none", "proportional", "rank"])
def test_a_learner_draws_what_a_memory_of_its_own_would_give(
    monkeypatch: pytest.MonkeyPatch, prioritized: Any, recurrent: bool
) -> None:
    algorithm = DQN(
        rollout_length=4, prioritized=prioritized, replay_capacity=160, replay_start=16, batch_size=4, replay_ratio=3.0,
        multi_step=2, sequence_length=4, burn_in=2,
    )  # fmt: skip
    mine = memory(algorithm)
    experiment = dataclasses.replace(separate(envs_per_worker=B), algorithm=algorithm)
    shard = ReplayShard(experiment, mine.worker.environment)
    random = torch.Generator().manual_seed(experiment.seed)
    drawn_items = 0
    monkeypatch.setattr(replay, "PATIENCE", 0.0)
    with served(shard) as address:
        actor, learner = ReplayClient(address, KEY), ReplayClient(address, KEY)
        for rollout in played(40, 4, state=recurrent):  # twice the capacity
            mine.add(rollout)
            actor.ask(Add(0, rollout))
            while (expected := mine.draw_one(random, PROGRESS)) is not None:
                drawn = learner.ask(Draw(PROGRESS))
                assert isinstance(drawn, Drawn)
                for name in ("observations", "actions", "rewards", "discounts", "valid", "first", "state"):
                    torch.testing.assert_close(getattr(drawn.item.rollout, name), getattr(expected.rollout, name))
                assert torch.equal(drawn.item.weights, expected.weights)
                errors = torch.rand(len(expected.places), generator=torch.Generator().manual_seed(drawn_items))
                mine.learned(expected, errors)
                learner.tell(Learned(drawn.item.places, errors.numpy(), drawn.origin))
                drawn_items += 1
            assert learner.ask(Draw(PROGRESS)) is None
        actor.close()
        learner.close()
    assert drawn_items >= 50


def test_errors_of_what_was_overwritten_meanwhile_are_dropped() -> None:
    mine = memory(DQN(rollout_length=4, prioritized="proportional", replay_capacity=80, replay_start=8, batch_size=64))
    rollouts = played(30, 4)
    for _ in range(10):
        mine.add(next(rollouts))
    removed, places = mine.removed, np.arange(80)
    tree = mine.selection.tree  # type: ignore[attr-defined]
    for _ in range(3):
        mine.add(next(rollouts))
    before = tree[places].copy()
    mine.learned_late(places, np.full(80, 9.0, np.float32), removed)
    changed = tree[places] != before
    gone = mine._places(removed, mine.removed)
    assert len(gone) == 3 * 4 * B
    assert not changed[gone].any()
    assert changed.sum() == 80 - len(gone)


def test_learners_wait_for_steps_and_actors_for_learners(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    experiment = separate()  # a rollout of 16 steps asks for 32 steps to be learned: 4 minibatches
    shard = ReplayShard(experiment, describe(experiment))
    monkeypatch.setattr(replay, "PATIENCE", 0.01)
    with served(shard) as address:
        first, second = setups(experiment, address, tmp_path)
        actor, learner = first.make_worker(), second.make_worker()
        assert isinstance(actor, Actor)
        assert isinstance(learner, Learner)
        assert learner.turn().updates == 0  # nothing there yet
        counter = actor.setup.store.counter  # type: ignore[attr-defined]
        for _ in range(20):
            actor.turn()
        collected = counter.steps
        assert 16 * 3 <= collected <= 16 * 6  # the start, and two rollouts more
        updates = sum(learner.turn().updates for _ in range(40))
        assert counter.updates == updates
        assert 4 <= updates <= 12
        assert not any(learner.turn().updates for _ in range(3))
        for _ in range(20):
            actor.turn()
            learner.turn()
        learned = sum(learner.turn().updates for _ in range(20)) + updates
        assert counter.steps > collected
        assert counter.updates >= learned
        assert 0.8 <= counter.updates * 8 / (2 * (counter.steps - 32)) <= 1.3  # the replay ratio is 2
        actor.close()
        learner.close()


def test_an_actor_without_learners_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    experiment = separate()
    experiment = replaced(experiment, {"stall_timeout": 0.2})
    monkeypatch.setattr(replay, "PATIENCE", 0.01)
    with served(ReplayShard(experiment, describe(experiment))) as address:
        actor = setups(experiment, address, tmp_path)[0].make_worker()
        with pytest.raises(RuntimeError, match=r"waited 0\.2 s for learners"):
            deque(actor.work(), maxlen=0)
        actor.close()


def test_a_shard_that_was_started_again_is_found_and_old_errors_are_not_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = memory(DQN(rollout_length=4, prioritized="proportional", replay_capacity=80, replay_start=8, batch_size=4))
    experiment = dataclasses.replace(
        separate(envs_per_worker=B),
        algorithm=DQN(rollout_length=4, prioritized="proportional", replay_capacity=80, replay_start=8, batch_size=4),
    )
    rollouts = played(30, 4)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served(ReplayShard(experiment, mine.worker.environment), port) as address:
        client = ReplayClient(address, KEY)
        for _ in range(4):
            client.ask(Add(0, next(rollouts)))
        drawn = client.ask(Draw(PROGRESS))
    client.close()  # as the system does with connections of a process that has ended

    again = ReplayShard(experiment, mine.worker.environment)
    server: list[ReplayServer] = []
    start = threading.Timer(0.5, lambda: server.append(ReplayServer(again.answer, address, KEY)))
    start.start()
    assert client.ask(AskForRoom(0))  # waits until it is there
    assert list(again.memories) == [0]
    for _ in range(4):
        client.ask(Add(0, next(rollouts)))
    tree = again.memories[0].selection.tree  # type: ignore[attr-defined]
    before = tree.total
    client.tell(Learned(drawn.item.places, np.full(4, 9.0, np.float32), drawn.origin))
    client.ask(AskForRoom(0))  # answered after it
    assert tree.total == before
    origin = Origin(again.life, 0, again.memories[0].removed)
    client.tell(Learned(drawn.item.places, np.full(4, 9.0, np.float32), origin))
    client.ask(AskForRoom(0))
    assert tree.total > before
    server[0].close()
    client.close()

    monkeypatch.setattr(replay_connection, "CONNECT_SECONDS", 0.3)
    with pytest.raises(ConnectionError, match=f"at 127.0.0.1:{port} has not answered for 0.3 s"):
        client.ask(AskForRoom(0))


def test_nobody_without_the_key_is_answered() -> None:
    experiment = separate()
    with served(ReplayShard(experiment, describe(experiment))) as address:
        with pytest.raises(AuthenticationError):
            ReplayClient(address, b"another key").ask(AskForRoom(0))
        client = ReplayClient(address, KEY)
        assert client.ask(AskForRoom(0))  # it goes on answering others
        client.close()


def test_workers_of_a_node_are_actors_then_learners(tmp_path: Path) -> None:
    experiment = separate(actors=2, learners=1, nodes=2)
    assert (experiment.worker_count, experiment.acting_workers) == (6, 4)
    made = setups(experiment, ("127.0.0.1", 1), tmp_path)
    assert [(is_actor(setup), setup.ordinal) for setup in made] == [
        (True, 0), (True, 1), (False, 0),
        (True, 2), (True, 3), (False, 1),
    ]  # fmt: skip
    info = describe(experiment)
    actors = [setup.worker_info for setup in made if is_actor(setup)]
    assert actors == [WorkerInfo(info, 4, number, 4) for number in range(4)]
