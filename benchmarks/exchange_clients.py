"""Measures how many pushes the parameter server takes per second from several nodes at once, beside the model's figure.

    python benchmarks/exchange_clients.py [--seconds 4] [--out benchmarks/results/exchange_clients.csv]

Each node is a process that does nothing but push vectors of the size of the network of 2013, one after another. The
model of `benchmarks/exchange_interval.py` says that a shard takes as many pushes per second as a single node can make,
whatever the number of nodes, and that S shards take S times as many.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from child import run_script
from rows import write_rows

SIZE = "Atari, 2013"
NODES = (1, 2, 4, 8)
SHARDS = (1, 4)


class Client:
    """A node that only pushes."""

    def __init__(self, shards: Sequence[Any], parts: Sequence[slice], size: int) -> None:
        torch.set_num_threads(1)
        self.shards, self.parts, self.vector = shards, parts, np.ones(size, np.float32)

    def push_for(self, seconds: float) -> int:
        """Pushes for so long, and returns how often."""
        import ray

        from asyncrl.gorila.shard import Push

        pushes, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            sent = [Push(self.vector[part], 0.0, 0, 0) for part in self.parts]
            ray.get([shard.trade.remote(one) for shard, one in zip(self.shards, sent, strict=True)])
            pushes += 1
        return pushes


def rate(nodes: int, shards: int, size: int, seconds: float) -> float:
    """Pushes of all nodes together per second."""
    import ray

    from asyncrl.gorila.shard import Shard, ShardState, bounds

    parts = bounds(size, shards)
    holders = [ray.remote(Shard).options(num_cpus=0).remote() for _ in parts]
    for holder, part in zip(holders, parts, strict=True):
        ray.get(holder.restore.remote(ShardState(np.zeros(part.stop - part.start, np.float32))))
    clients = [ray.remote(Client).options(num_cpus=0).remote(holders, parts, size) for _ in range(nodes)]
    ray.get([client.push_for.remote(0.5) for client in clients])  # imports and first connections
    pushes = sum(ray.get([client.push_for.remote(seconds) for client in clients]))
    for actor in (*holders, *clients):
        ray.kill(actor)
    return pushes / seconds


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/exchange_clients.csv"))
    given = parser.parse_args(arguments)
    from exchange_cost import SIZES

    from asyncrl.gorila.cluster import connected

    rows: list[dict[str, Any]] = []
    with connected("auto"):
        for shards in SHARDS:
            for nodes in NODES:
                measured = rate(nodes, shards, SIZES[SIZE], given.seconds)
                model = shards * rows[0]["measured"] if rows else measured
                rows.append(
                    {"nodes": nodes, "shards": shards, "measured": round(measured, 1), "model": round(model, 1)}
                )
                print(rows[-1], flush=True)
    write_rows(given.out, rows)


if __name__ == "__main__":
    run_script(main)
