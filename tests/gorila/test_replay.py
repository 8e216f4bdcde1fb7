"""Actors and learners with the replay memory between them: what is drawn, who waits for whom, and what fails."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asyncrl.algorithms.dqn import DQN
from asyncrl.config import Experiment, replaced
from asyncrl.envs.make import describe
from asyncrl.errors import RunError, UserError
from asyncrl.gorila import replay, replay_connection, roles
from asyncrl.gorila.replay import Add, AskForRoom, Draw, Drawn, Learned, Origin, ReplayShard
from asyncrl.gorila.replay_connection import ReplayAddress, ReplayClient, ReplayServer
from asyncrl.gorila.roles import Actor, Learner, RemoteReplay, RemoteShare, RoleSetup
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.restarts import Restarts
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
    try:
        yield "127.0.0.1", server.port
    finally:
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
        for number, rollout in enumerate(played(40, 4, state=recurrent)):  # twice the capacity
            mine.add(rollout)
            for _ in range(2 if number % 3 == 0 else 1):  # what comes twice counts once
                actor.ask(Add(0, 0, number, rollout))
            while (expected := mine.draw_one(random, PROGRESS)) is not None:
                drawn = learner.ask(Draw(PROGRESS, 0.0))
                assert isinstance(drawn, Drawn)
                for name in ("observations", "actions", "rewards", "discounts", "valid", "first", "state"):
                    torch.testing.assert_close(getattr(drawn.item.rollout, name), getattr(expected.rollout, name))
                assert torch.equal(drawn.item.weights, expected.weights)
                errors = torch.rand(len(expected.places), generator=torch.Generator().manual_seed(drawn_items))
                mine.learned(expected, errors)
                learner.ask(Learned(drawn.item.places, errors.numpy(), drawn.origin))
                drawn_items += 1
            assert learner.ask(Draw(PROGRESS, 0.0)) is None
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
    monkeypatch.setattr(roles, "PATIENCE", 0.01)
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
        assert 4 <= updates <= 12
        assert not any(learner.turn().updates for _ in range(3))
        for _ in range(20):
            actor.turn()
            updates += learner.turn().updates
        updates += sum(learner.turn().updates for _ in range(40))
        assert counter.steps > collected
        assert counter.updates == updates
        assert 0.8 <= updates * 8 / (2 * (counter.steps - 32)) <= 1.3  # the replay ratio is 2
        actor.close()
        learner.close()


def test_a_new_actor_begins_new_episodes() -> None:
    mine = memory(DQN(rollout_length=4, replay_capacity=160, replay_start=8, batch_size=4))
    algorithm = DQN(rollout_length=4, replay_capacity=160, replay_start=8, batch_size=4)
    shard = ReplayShard(dataclasses.replace(separate(envs_per_worker=B), algorithm=algorithm), mine.worker.environment)
    before, after = next(played(1, 4, seed=1)), next(played(1, 4, seed=2))
    shard.answer(Add(0, 0, 1, before))
    shard.answer(Add(0, 1, 1, after))
    shard.answer(Add(0, 0, 2, before))  # of the actor that was taken for dead
    made = shard.memories[0]
    assert made.steps.written == 8
    assert not made.steps.valid[3].any()  # the last step of the first actor is not joined to the other's first one
    assert made.steps.valid[4].all()


def test_a_learner_takes_from_every_shard_and_waits_for_none_that_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = dataclasses.replace(
        separate(actors=3, envs_per_worker=B),
        algorithm=DQN(rollout_length=4, replay_capacity=480, replay_start=24, batch_size=4, replay_ratio=1.0),
    )
    info = memory(DQN(rollout_length=4)).worker.environment
    shards = [ReplayShard(experiment, info) for _ in range(2)]
    monkeypatch.setattr(roles, "PATIENCE", 0.05)
    with served(shards[0]) as first, served(shards[1]) as second:
        where = ReplayAddress((first, second), KEY)
        shares = [RemoteShare(where, actor, 0) for actor in range(3)]
        learner = RemoteReplay(where, 1)
        for rollout in played(6, 4):
            for share in shares[::2]:  # both of the first shard
                share.add(rollout)
        assert [len(shard.memories) for shard in shards] == [2, 0]
        began = time.monotonic()
        drawn = [learner.draw(PROGRESS) for _ in range(8)]
        assert time.monotonic() - began < 1  # and no 0.05 s for each of them at the other shard
        assert {found.origin.actor for found in drawn if found is not None} == {0, 2}
        for rollout in played(6, 4):
            shares[1].add(rollout)
        lives = {found.origin.life for _ in range(8) if (found := learner.draw(PROGRESS)) is not None}
        assert lives == {shard.life for shard in shards}
        for client in (*learner.clients, *(share.client for share in shares)):
            client.close()


def test_what_a_shard_raises_is_raised_where_it_was_asked() -> None:
    experiment = dataclasses.replace(separate(envs_per_worker=B), algorithm=DQN(rollout_length=8))
    info = memory(DQN(rollout_length=8)).worker.environment
    with served(ReplayShard(experiment, info)) as address:
        client = ReplayClient(address, KEY)
        with pytest.raises(UserError, match="cannot be replayed with --episode-rollouts"):
            client.ask(Add(0, 0, 0, next(played(1, 4))))
        assert client.ask(AskForRoom(0))
        client.close()


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
        for number in range(4):
            client.ask(Add(0, 0, number, next(rollouts)))
        drawn = client.ask(Draw(PROGRESS, 0.0))

    again = ReplayShard(experiment, mine.worker.environment)
    server: list[ReplayServer] = []
    start = threading.Timer(0.5, lambda: server.append(ReplayServer(again.answer, address, KEY)))
    start.start()
    assert client.ask(AskForRoom(0))  # waits until it is there
    assert list(again.memories) == [0]
    for number in range(4, 8):
        client.ask(Add(0, 0, number, next(rollouts)))
    tree = again.memories[0].selection.tree  # type: ignore[attr-defined]
    before = tree.total
    client.ask(Learned(drawn.item.places, np.full(4, 9.0, np.float32), drawn.origin))
    client.ask(AskForRoom(0))  # answered after it
    assert tree.total == before
    origin = Origin(again.life, 0, again.memories[0].removed)
    client.ask(Learned(drawn.item.places, np.full(4, 9.0, np.float32), origin))
    client.ask(AskForRoom(0))
    assert tree.total > before
    server[0].close()
    client.close()

    monkeypatch.setattr(replay_connection, "ANSWER_SECONDS", 0.3)
    with pytest.raises(ConnectionError, match=f"at 127.0.0.1:{port} has not answered for 0.3 s"):
        client.ask(AskForRoom(0))


def test_nobody_without_the_key_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = separate()
    with served(ReplayShard(experiment, describe(experiment))) as address:
        monkeypatch.setattr(replay_connection, "ANSWER_SECONDS", 0.5)
        stranger = socket.create_connection(address)  # says nothing
        with pytest.raises(ConnectionError, match="has not answered"):
            ReplayClient(address, b"another key").ask(AskForRoom(0))
        client = ReplayClient(address, KEY)
        assert client.ask(AskForRoom(0))  # it goes on answering others
        client.close()
        stranger.close()


def test_workers_of_a_node_are_actors_then_learners(tmp_path: Path) -> None:
    experiment = separate(actors=2, learners=1, nodes=2)
    assert (experiment.worker_count, experiment.acting_workers) == (6, 4)
    made = setups(experiment, ("127.0.0.1", 1), tmp_path)
    assert [(experiment.role_of(setup.number), setup.ordinal) for setup in made] == [
        ("actor", 0), ("actor", 1), ("learner", 0),
        ("actor", 2), ("actor", 3), ("learner", 1),
    ]  # fmt: skip
    info = describe(experiment)
    actors = [setup.worker_info for setup in made if experiment.role_of(setup.number) == "actor"]
    assert actors == [WorkerInfo(info, 4, number, 4) for number in range(4)]


def test_a_run_goes_on_without_one_of_its_actors_but_not_without_its_last_learner() -> None:
    experiment = replaced(separate(actors=2), {"restarts": 0})
    shared = SharedModel(experiment, describe(experiment), process_context()).shared
    notes: list[str] = []
    restarts = Restarts(experiment, shared, notes.append, replays=False)
    restarts.failed(Failure(0, "failed"), running=2)
    assert "the run goes on with 2 workers" in notes[0]
    with pytest.raises(RunError, match="worker 2 failed; it has no restarts left, and no other learner is left"):
        restarts.failed(Failure(2, "failed"), running=1)
