"""Trading with the parameter server: nothing is lost, nothing counts twice, and one node is as good as one machine."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asyncrl.config import Experiment, replaced
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.gorila.exchange import Exchanger
from asyncrl.gorila.shard import Push, Shard, ShardState, bounds
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.shared_model import SharedModel
from asyncrl.runtime.store import SharedState, learning_rate
from asyncrl.runtime.worker import Worker, WorkerSetup
from asyncrl.settings import OptimizerSettings
from tests.experiments import small
from tests.gorila.local_server import LocalServer

INFO = describe(small())


def memory(exchange: str = "changes", **settings: object) -> SharedState:
    """A node's shared memory, its parameters zero."""
    experiment = replaced(small(), {"runtime": "ray", "nodes": 1, "workers": 1, "exchange": exchange, **settings})
    shared = SharedModel(experiment, INFO, process_context()).shared
    shared.parameters.tensor.zero_()
    return shared


def exchanger(shared: SharedState, server: LocalServer, in_flight: int = 3) -> Exchanger:
    """One that has the server's parameters."""
    made = Exchanger(shared, server, in_flight, learning_rate=lambda: 0.5)
    made.turn()
    made.receive(patience=1.0)
    assert made.connected
    return made


def test_shards_hold_each_parameter_once() -> None:
    for size, shards, parts in ((10, 3, 1), (200, 3, 3), (1, 1, 1), (1000, 9, 9), (640, 4, 4)):
        held = [range(size)[part] for part in bounds(size, shards)]
        assert [index for part in held for index in part] == list(range(size))
        assert len(held) == parts
        assert all(part.start % 64 == 0 for part in held)


@pytest.mark.parametrize("seed", range(5))
def test_what_nodes_change_adds_up_under_random_delays(seed: int) -> None:
    """Changes are small whole numbers, which float32 adds without rounding: sums must be equal, not close."""
    chance, nodes = random.Random(seed), [memory() for _ in range(4)]
    size = nodes[0].parameters.tensor.numel()
    server = LocalServer(torch.zeros(size), [Shard(), Shard(), Shard()], seed, longest_delay=5)
    exchangers = [exchanger(node, server) for node in nodes]
    total = torch.zeros(size)
    for _ in range(300):
        number = chance.randrange(len(nodes))
        if chance.random() < 0.5:
            change = torch.randint(-3, 4, (size,)).float()
            nodes[number].parameters.tensor.add_(change)
            total += change
        else:
            exchangers[number].turn()
    assert all(each.finish(patience=1.0) for each in exchangers)
    assert server.theta == total.tolist()
    for each in exchangers:  # those that finished first have not seen what the others pushed at last
        assert each.finish(patience=1.0)
    assert all(torch.equal(node.parameters.tensor, total) for node in nodes)


@pytest.mark.parametrize("seed", range(5))
def test_gradients_are_summed_and_applied_once(seed: int) -> None:
    settings = OptimizerSettings("momentum-sgd", decay=0.0)  # θ ← θ - η Σd
    chance, nodes = random.Random(seed), [memory("gradients") for _ in range(3)]
    size = nodes[0].parameters.tensor.numel()
    server = LocalServer(torch.zeros(size), [Shard(settings), Shard(settings)], seed, longest_delay=5)
    exchangers = [exchanger(node, server) for node in nodes]
    total = torch.zeros(size)
    for _ in range(200):
        number = chance.randrange(len(nodes))
        if chance.random() < 0.5:
            gradient = 2 * torch.randint(-3, 4, (size,)).float()
            assert nodes[number].gradients is not None
            nodes[number].gradients.tensor.add_(gradient)
            total -= 0.5 * gradient
        else:
            exchangers[number].turn()
    assert all(each.finish(patience=1.0) for each in exchangers)
    assert server.theta == total.tolist()
    assert torch.equal(nodes[-1].parameters.tensor, total)  # the last to finish


def test_a_node_goes_on_from_what_the_server_has_after_a_shard_failed() -> None:
    node = memory()
    size = node.parameters.tensor.numel()
    shards = [Shard(), Shard()]
    server = LocalServer(torch.zeros(size), shards)
    trader = exchanger(node, server, in_flight=2)
    node.parameters.tensor.add_(1.0)
    trader.turn()
    trader.receive()
    shards[1].parameters = None  # it was started again and is empty
    node.parameters.tensor.add_(1.0)
    trader.turn()
    trader.receive()
    assert not trader.connected
    assert trader.traffic.lost == 1
    node.parameters.tensor.add_(4.0)  # workers go on meanwhile
    trader.turn()
    trader.receive()
    assert not trader.connected
    shards[1].restore(ShardState(torch.ones(size)[server.parts[1]].numpy()))
    assert trader.finish(patience=1.0)
    expected = torch.full((size,), 6.0)
    expected[server.parts[1]] = 5.0  # the shard that failed has lost one push
    assert server.theta == expected.tolist()
    assert torch.equal(node.parameters.tensor, expected)


def test_changes_are_averaged_where_they_have_half_their_weight() -> None:
    nodes = [memory(), memory()]
    size = nodes[0].parameters.tensor.numel()
    server = LocalServer(torch.zeros(size), [Shard(change_weight=0.5)])
    exchangers = [exchanger(node, server) for node in nodes]
    for node, change in zip(nodes, (2.0, 6.0), strict=True):
        node.parameters.tensor.add_(change)
    for _ in range(2):
        assert all(each.finish(patience=1.0) for each in exchangers)
    assert server.theta == [4.0] * size
    assert all(torch.equal(node.parameters.tensor, torch.full((size,), 4.0)) for node in nodes)


def test_a_push_at_the_end_is_made_although_the_server_was_lost() -> None:
    node = memory()
    size = node.parameters.tensor.numel()
    server = LocalServer(torch.zeros(size), [Shard()])
    trader = exchanger(node, server)
    trader.connected = False
    node.parameters.tensor.add_(5.0)
    assert trader.finish(patience=1.0)
    assert server.theta == [5.0] * size
    server.shards[0].parameters = None
    node.parameters.tensor.add_(1.0)
    assert not trader.finish(patience=1.0)


def test_each_shard_has_versions_of_its_own() -> None:
    """A shard that was restored from an older copy makes no push stale for the others."""
    node = memory()
    size = node.parameters.tensor.numel()
    shards = [Shard(max_staleness=3), Shard(max_staleness=3)]
    server = LocalServer(torch.zeros(size), shards)
    trader = exchanger(node, server)
    for turn in range(50):
        if turn == 25:
            shards[0].restore(ShardState(shards[0].state().parameters, version=5))  # type: ignore[union-attr]
        node.parameters.tensor.add_(1.0)
        trader.turn()
        trader.receive()
    assert trader.traffic.rejected == 0
    assert server.theta == [50.0] * size


def test_a_shard_whose_optimizer_cannot_be_made_stays_empty() -> None:
    shard = Shard(OptimizerSettings("nowhere:Optimizer"))
    with pytest.raises(UserError):
        shard.restore(ShardState(torch.zeros(4).numpy()))
    assert shard.trade(Push(torch.ones(4).numpy(), 1.0, 0, 0)) is None


def test_staleness_counts_pushes_of_others_and_bounds_what_is_applied() -> None:
    shard = Shard(max_staleness=1)
    shard.restore(ShardState(torch.zeros(2).numpy()))
    one = torch.ones(2).numpy()
    fresh = shard.trade(Push(one, 0.0, seen=0, own=0))
    assert fresh is not None
    assert (fresh.version, fresh.staleness, fresh.rejected) == (1, 0, False)
    own = shard.trade(Push(one, 0.0, seen=0, own=1))  # the node's own push before it does not count
    assert own is not None
    assert (own.version, own.staleness, own.rejected) == (2, 0, False)
    shard.trade(Push(one, 0.0, seen=2, own=0))
    stale = shard.trade(Push(one, 0.0, seen=1, own=0))
    assert stale is not None
    assert (stale.version, stale.staleness, stale.rejected) == (3, 2, True)
    assert stale.parameters.tolist() == [3.0, 3.0]
    asked = shard.trade(Push(None, 0.0, seen=0, own=0))  # asking is never too late
    assert asked is not None
    assert not asked.rejected


class Updating:
    """A store that trades after every update, and waits for the answer."""

    def __init__(self, worker: Worker, trader: Exchanger) -> None:
        push: Callable[..., bool] = worker.store.push

        def push_and_trade(*arguments: object) -> bool:
            applied = push(*arguments)
            trader.turn()
            trader.receive(patience=1.0)
            assert not trader.pending
            return applied

        worker.store.push = push_and_trade  # type: ignore[method-assign]


def trained(experiment: Experiment, folder: Path, trades: bool) -> Tensor:
    """θ after a number of turns of one worker."""
    torch.manual_seed(3)
    shared = SharedModel(experiment, describe(experiment), process_context()).shared
    worker = Worker(WorkerSetup(0, experiment, describe(experiment), shared, folder))
    if trades:
        shards = [Shard(experiment.optimizer if shared.gradients is not None else None) for _ in range(2)]
        server = LocalServer(shared.parameters.tensor.clone(), shards)
        counter = shared.counter
        trader = Exchanger(shared, server, 1, lambda: learning_rate(experiment, counter.steps))
        trader.turn()
        trader.receive(patience=1.0)
        Updating(worker, trader)
    for _ in range(60):
        worker.turn()
    worker.close()
    return shared.parameters.tensor.clone()


@pytest.mark.parametrize("optimizer", ["shared-adam", "shared-rmsprop", "momentum-sgd", "shared-adagrad"])
@pytest.mark.parametrize("algorithm", ["a3c", "onestep-q", "dqn"])
def test_one_node_that_pushes_every_update_trains_as_one_machine_does(
    tmp_path: Path, algorithm: str, optimizer: str
) -> None:
    more = {"replay_start": 20, "replay_capacity": 200} if algorithm == "dqn" else {}
    alone = replaced(small(algorithm=algorithm, workers=1), {"optimizer": optimizer, **more})
    on_node = dataclasses.replace(
        alone, runtime="ray", cluster=dataclasses.replace(alone.cluster, nodes=1, exchange="gradients")
    )
    expected = trained(alone, tmp_path, trades=False)
    assert torch.equal(trained(on_node, tmp_path, trades=True), expected)
    changes = dataclasses.replace(on_node, cluster=dataclasses.replace(on_node.cluster, exchange="changes"))
    assert torch.allclose(trained(changes, tmp_path, trades=True), expected, rtol=1e-4, atol=1e-6)
