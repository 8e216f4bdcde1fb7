"""Training speed beside the raw emulator's, measured in turns in one run.

    python benchmarks/throughput.py ALE/Pong-v5 --repeats 3

Raw: as many processes as workers, each with the same vector of environments, random actions and no network. Training:
`asyncrl train` with the environment's default preset; its own `steps_per_second` once it is under way.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from asyncrl.config import available_cores
from asyncrl.envs.make import make_vector
from asyncrl.training import starting_point


def raw_worker(environment: str, count: int, seconds: float, seed: int) -> float:
    """Steps per second of one vector with random actions."""
    environments = make_vector(environment, {}, count)
    actions = int(environments.single_action_space.n)  # type: ignore[attr-defined]
    environments.reset(seed=seed)
    random = np.random.default_rng(seed)
    rounds, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        environments.step(random.integers(actions, size=count))
        rounds += 1
    return rounds * count / (time.monotonic() - started)


def raw_speed(environment: str, workers: int, count: int, seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        speeds = pool.starmap(raw_worker, [(environment, count, seconds, seed) for seed in range(workers)])
    return sum(speeds)


def under_way(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics that were written once workers had begun to act."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in map(json.loads, lines) if line["steps"] > 0]


def training_speed(environment: str, workers: int, seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "asyncrl", "train", environment, "--workers", str(workers)]
        command += ["--until-return", "None", "--steps", "1G", "--run-dir", str(run)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not under_way(run):
            time.sleep(0.2)
        time.sleep(seconds)
        process.terminate()
        process.wait()
        first, *_, last = under_way(run)
    return float((last["steps"] - first["steps"]) / (last["wall_seconds"] - first["wall_seconds"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    given = parser.parse_args()
    workers = available_cores()
    count = starting_point(given.environment, None, None).envs_per_worker
    raw, trained = [], []
    for number in range(given.repeats):
        raw.append(raw_speed(given.environment, workers, count, given.seconds))
        trained.append(training_speed(given.environment, workers, given.seconds))
        print(f"{number + 1}: raw {raw[-1]:.0f} steps/s, training {trained[-1]:.0f} steps/s", flush=True)
    ratio = statistics.median(t / r for t, r in zip(trained, raw, strict=True))
    print(
        f"{given.environment}, {workers} workers × {count} environments: median raw {statistics.median(raw):.0f}, "
        f"training {statistics.median(trained):.0f} steps/s, ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
