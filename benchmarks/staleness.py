"""Simulates how much delay learning bears: A3C on Catch over many nodes, with the real exchange and simulated clocks.

    python benchmarks/staleness.py [--seeds 1 2] [--steps 300000] [--out benchmarks/results/staleness.csv]

Every node has one worker, whose real rollouts and updates take one unit of simulated time each, give or take a fifth. A
push reaches the server after half of the delay, and its answer comes after the other half. Nodes push after every
rollout, at most two pushes at a time. The score is the mean return of the last 500 training episodes of all nodes, and
the steps are counted over all nodes, so that a larger number of nodes makes fewer updates one after another.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from child import run_script
from rows import write_rows
from torch import Tensor

from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.gorila.exchange import Exchanger
from asyncrl.gorila.shard import Answer, Push, Shard, ShardState
from asyncrl.resolution import resolve, starting_point
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.shared_model import SharedModel
from asyncrl.runtime.store import learning_rate
from asyncrl.runtime.worker import Worker, WorkerSetup

NODES = (1, 2, 4, 8, 16, 32)
DELAYS = (0.0, 1.0, 4.0, 16.0)
"""Units: the time of one rollout with its update."""
LATEST = 500
"""Number of episodes in the score."""


@dataclass
class Clock:
    """Simulated time, and what happens when."""

    now: float = 0.0
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    def after(self, delay: float, event: Callable[[], None]) -> None:
        """Lets something happen later."""
        heapq.heappush(self.events, (self.now + delay, next(self.numbers), event))

    def step(self) -> None:
        """Goes on to what happens next."""
        self.now, _, event = heapq.heappop(self.events)
        event()


class DelayedTrade:
    """A push on its way through simulated time."""

    def __init__(self) -> None:
        self.answer: Answer | None = None

    def answers(self, timeout: float) -> list[Answer] | None:
        return None if self.answer is None else [self.answer]


class DelayedServer:
    """One shard, behind a network with a delay."""

    def __init__(self, theta: Tensor, clock: Clock, delay: float) -> None:
        self.shard, self.clock, self.delay = Shard(), clock, delay
        self.shard.restore(ShardState(theta.numpy().copy()))

    def push(self, values: Tensor | None, learning_rate: float, seen: Sequence[int], own: int) -> DelayedTrade:
        trade = DelayedTrade()
        push = Push(None if values is None else values.numpy().copy(), learning_rate, seen[0] if seen else 0, own)

        def arrive() -> None:
            answer = self.shard.trade(push)

            def come_back() -> None:
                trade.answer = answer

            self.clock.after(self.delay / 2, come_back)

        self.clock.after(self.delay / 2, arrive)
        return trade


def simulated(experiment: Experiment, nodes: int, delay: float, seed: int, folder: Path) -> dict[str, float]:
    """Trains over simulated nodes; returns score and staleness."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    chance, clock, info = random.Random(seed), Clock(), describe(experiment)
    models = [SharedModel(experiment, info, process_context()).shared for _ in range(nodes)]
    for model in models[1:]:
        model.parameters.tensor.copy_(models[0].parameters.tensor)
    server = DelayedServer(models[0].parameters.tensor, clock, delay)
    workers = [Worker(WorkerSetup(n, experiment, info, model, folder)) for n, model in enumerate(models)]
    done, returns = 0, deque[float](maxlen=LATEST)
    traders = [
        Exchanger(model, server, 2, lambda model=model: learning_rate(experiment, model.counter.steps))  # type: ignore[misc]
        for model in models
    ]

    def turn(number: int) -> None:
        nonlocal done
        counter = models[number].counter
        before = counter.slot(number).steps
        traders[number].receive()
        report = workers[number].turn()
        done += counter.slot(number).steps - before
        returns.extend(episode.total_reward for episode in report.episodes)
        rows = counter.rows
        rows[-1] = 0
        rows[-1, 0] = done - counter.slot(number).steps
        counter.set_rows([len(rows) - 1], rows)  # the schedule follows the steps of all nodes
        traders[number].turn()
        if done < experiment.steps:
            clock.after(chance.uniform(0.8, 1.2), lambda: turn(number))

    for number in range(nodes):
        clock.after(chance.random(), lambda number=number: turn(number))  # type: ignore[misc]
    while clock.events:
        clock.step()
    for worker in workers:
        worker.close()
    pushes = sum(trader.traffic.pushes for trader in traders)
    staleness = sum(trader.traffic.staleness for trader in traders) / max(pushes, 1)
    return {"score": round(sum(returns) / len(returns), 3), "staleness": round(staleness, 2), "time": round(clock.now)}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/staleness.csv"))
    given = parser.parse_args(arguments)
    settings = {"steps": given.steps, "until_return": None, "runtime": "ray"}
    start = resolve(starting_point("Catch", None, "a3c"), settings)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for nodes, delay, seed in itertools.product(NODES, DELAYS, given.seeds):
            cluster = replace(start.cluster, nodes=nodes)
            experiment = replace(start, workers=1, seed=seed, cluster=cluster)
            row = {"nodes": nodes, "delay": delay, "seed": seed}
            rows.append({**row, **simulated(experiment, nodes, delay, seed, Path(folder))})
            print(rows[-1], flush=True)
    write_rows(given.out, rows)


if __name__ == "__main__":
    run_script(main)
