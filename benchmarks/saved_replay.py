"""Measures how fast a large replay memory is saved and loaded, and how much memory that takes.

python benchmarks/saved_replay.py [STEPS] [FOLDER]

The memory is that of one worker with 16 environments of Pong, filled with random frames.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asyncrl.envs.make import describe
from asyncrl.memory.saved_replay import SavedReplayMemory
from asyncrl.resolution import resolve, starting_point
from asyncrl.types import Rollout, WorkerInfo

B, T = 16, 4


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else ".") as folder:
        context = multiprocessing.get_context("spawn")
        for measure in (write, read):
            process = context.Process(target=measure, args=(steps, Path(folder) / "copy"))
            process.start()
            process.join()


def memory(steps: int) -> SavedReplayMemory:
    settings: dict[str, Any] = {"replay_capacity": steps, "rollout_length": T, "prioritized": "proportional"}
    start = starting_point("ALE/Pong-v5", None, "dqn")
    experiment = resolve(start, {**settings, "save_replay": True, "workers": 1, "envs_per_worker": B})
    made = experiment.algorithm.make_memory(WorkerInfo(describe(experiment), B, 0, 1))
    assert isinstance(made, SavedReplayMemory)
    return made


def write(steps: int, folder: Path) -> None:
    """Fills the ring one and a half times, while blocks are written, and saves the rest."""
    made = memory(steps)
    copy, rollouts = made.on_disk(folder), [rollout(number) for number in range(8)]
    fill = growth = longest = 0.0
    for number in range(3 * steps // (2 * T * B)):
        began = time.perf_counter()
        made.add(rollouts[number % len(rollouts)])
        added = time.perf_counter()
        copy.grow()
        fill, growth, longest = (
            fill + added - began,
            growth + time.perf_counter() - added,
            max(longest, time.perf_counter() - added),
        )
    before, began = peak(), time.perf_counter()
    copy.save()
    seconds = time.perf_counter() - began
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{steps:,} steps, {size / 1e9:.2f} GB in {len(list(folder.iterdir()))} files")
    print(f"while filling: {fill:.1f} s for adding {1.5 * steps:,.0f} steps, {growth:.1f} s for writing them")
    print(f"  that is {1.5 * size / growth / 1e6:,.0f} MB/s; the longest pause was {longest:.2f} s")
    print(f"save at the end: {seconds:.2f} s; peak memory {before:,.0f} MB before and {peak():,.0f} MB after it")
    began = time.perf_counter()
    made.save(folder.with_name("whole"))
    seconds = time.perf_counter() - began
    print(f"as a whole beside a checkpoint: {seconds:.2f} s; peak memory {peak():,.0f} MB", flush=True)
    folder.with_name("whole").unlink()


def read(steps: int, folder: Path) -> None:
    """Loads it in a process of its own."""
    made, before = memory(steps), peak()
    began = time.perf_counter()
    made.on_disk(folder).load(lambda: None)
    seconds = time.perf_counter() - began
    print(f"load: {seconds:.2f} s; peak memory {before:,.0f} MB before and {peak():,.0f} MB after it", flush=True)
    shutil.rmtree(folder)


def rollout(number: int) -> Rollout:
    random = np.random.default_rng(number)
    return Rollout(
        observations=torch.from_numpy(random.integers(0, 256, (T + 1, B, 84, 84, 4), np.uint8)),
        actions=torch.zeros(T, B, dtype=torch.int64),
        rewards=torch.zeros(T, B),
        discounts=torch.ones(T, B),
        valid=torch.ones(T, B, dtype=torch.bool),
        first=torch.zeros(T + 1, B, dtype=torch.bool),
        state=(),
    )


def peak() -> float:
    """The most memory that this process has taken, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
