"""Measures what a push to the parameter server costs: through Ray, and through ZeroMQ and gloo beside it.

    python benchmarks/exchange_cost.py [--rounds 5] [--out benchmarks/results/exchange_cost.csv]

A push sends a float32 vector to another process on this machine, which adds it to its own vector and sends that back.
The ways take turns; figures are medians over rounds of 30 pushes, one at a time. ZeroMQ needs the package pyzmq.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from child import run_script
from rows import write_rows

SIZES = {"10 k": 10_000, "100 k": 100_000, "Atari, 2013": 678_000, "Atari, 2015": 1_690_000}
"""Numbers of parameters."""
PUSHES = 30
Push = Callable[[np.ndarray], np.ndarray]


@contextmanager
def through_ray(size: int) -> Iterator[Push]:
    import ray

    from asyncrl.gorila.shard import Push as Sent
    from asyncrl.gorila.shard import Shard, ShardState

    shard = ray.remote(Shard).options(num_cpus=0).remote()
    ray.get(shard.restore.remote(ShardState(np.zeros(size, np.float32))))
    yield lambda vector: ray.get(shard.trade.remote(Sent(vector, 0.0, 0, 0))).parameters
    ray.kill(shard)


def serve_zeromq(size: int, address: str) -> None:
    import zmq

    socket, total = zmq.Context().socket(zmq.REP), np.zeros(size, np.float32)
    socket.bind(address)
    while True:
        total += np.frombuffer(socket.recv(copy=False).buffer, np.float32)
        socket.send(total, copy=True)


@contextmanager
def through_zeromq(size: int) -> Iterator[Push]:
    import zmq

    address = "tcp://127.0.0.1:28811"
    server = multiprocessing.get_context("spawn").Process(target=serve_zeromq, args=(size, address), daemon=True)
    server.start()
    socket = zmq.Context().socket(zmq.REQ)
    socket.connect(address)

    def push(vector: np.ndarray) -> np.ndarray:
        socket.send(vector, copy=False)
        return np.frombuffer(socket.recv(copy=False).buffer, np.float32)

    yield push
    socket.close(0)
    server.kill()
    server.join()


def serve_gloo(size: int) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=1, world_size=2)
    total, change = torch.zeros(size), torch.zeros(size)
    while True:
        torch.distributed.recv(change, 0)
        total += change
        torch.distributed.send(total, 0)


@contextmanager
def through_gloo(size: int) -> Iterator[Push]:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="28812")
    server = multiprocessing.get_context("spawn").Process(target=serve_gloo, args=(size,), daemon=True)
    server.start()
    torch.distributed.init_process_group("gloo", rank=0, world_size=2)
    answer = torch.zeros(size)

    def push(vector: np.ndarray) -> np.ndarray:
        torch.distributed.send(torch.from_numpy(vector), 1)
        torch.distributed.recv(answer, 1)
        return answer.numpy()

    yield push
    server.kill()
    server.join()
    torch.distributed.destroy_process_group()


WAYS = {"Ray": through_ray, "ZeroMQ": through_zeromq, "gloo": through_gloo}


def milliseconds(push: Push, size: int) -> float:
    """Time of one push, there and back."""
    vector = np.ones(size, np.float32)
    for _ in range(5):
        push(vector)
    began = time.perf_counter()
    for _ in range(PUSHES):
        push(vector)
    return 1000 * (time.perf_counter() - began) / PUSHES


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/exchange_cost.csv"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    from asyncrl.gorila.cluster import connected

    times: dict[tuple[str, str], list[float]] = {}
    with connected("auto"):
        for _ in range(given.rounds):
            for name, size in SIZES.items():
                for way, through in WAYS.items():
                    with through(size) as push:
                        times.setdefault((name, way), []).append(milliseconds(push, size))
    rows: list[dict[str, Any]] = [
        {
            "parameters": name,
            "way": way,
            "milliseconds": round(statistics.median(each), 2),
            "least": round(min(each), 2),
        }
        for (name, way), each in times.items()
    ]
    for row in rows:
        print(row)
    write_rows(given.out, rows)


if __name__ == "__main__":
    run_script(main)
