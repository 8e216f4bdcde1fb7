"""Compares runs on a Ray cluster with runs on one machine, at equal numbers of steps and workers.

    python benchmarks/cluster.py [--seeds 1 2 3] [--out benchmarks/results/cluster.csv] [--only Catch]

A cluster of one or two nodes is started on this machine, each a raylet with its share of two cores. Every task is then
trained with two workers: on one machine without Ray, on one node, and on two nodes of one worker each, which trade
changes or gradients. Rows that the file has already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from child import run_script
from rows import read_rows, write_rows

from asyncrl.errors import RunError

TASKS = {
    "Catch, A3C": ("Catch", "a3c", "200k"),
    "Catch, DQN": ("Catch", "dqn", "60k"),
    "CartPole, A3C": ("CartPole-v1", "a3c", "300k"),
    "CartPole, DQN": ("CartPole-v1", "dqn", "100k"),
    "LunarLander, A3C": ("LunarLander-v3", "a3c", "400k"),
    "LunarLander, DQN": ("LunarLander-v3", "dqn", "150k"),
    "MinAtar Breakout, A3C": ("MinAtar/Breakout-v1", "a3c", "500k"),
    "MinAtar Breakout, DQN": ("MinAtar/Breakout-v1", "dqn", "100k"),
}
EPISODES = 50
"""Whole episodes in the evaluation of each final agent."""


@dataclass(frozen=True)
class Way:
    """A way to run two workers."""

    name: str
    nodes: int  # 0: without Ray
    exchange: str = "changes"


WAYS = (
    Way("one machine", 0),
    Way("one node", 1),
    Way("two nodes, changes", 2),
    Way("two nodes, gradients", 2, "gradients"),
)


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """A cluster on this machine; gives its address."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2 // nodes, "object_store_memory": 200 * 2**20}
    started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(nodes - 1):
        started.add_node(**node)
    try:
        yield started.address
    finally:
        started.shutdown()


def measured(task: tuple[str, str, str], way: Way, seed: int, address: str) -> dict[str, Any]:
    """Trains once, and returns the score of the final agent with what the training took."""
    environment, algorithm, steps = task
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "asyncrl", "train", environment, "--algorithm", algorithm, "--steps", steps]
        command += ["--until-return", "None", "--seed", str(seed), "--run-dir", str(run)]
        command += ["--final-episodes", str(EPISODES), "--eval-every", "None"]
        if way.nodes:
            command += ["--runtime", "ray", "--address", address, "--nodes", str(way.nodes)]
            command += ["--exchange", way.exchange]
        command += ["--workers", str(2 // max(way.nodes, 1))]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        start_up = None
        while process.poll() is None:
            if start_up is None and any(line["updates"] for line in lines(run)):
                start_up = time.monotonic() - began
            time.sleep(0.05)
        if process.returncode != 0 and process.stderr is not None:
            raise RunError(f"{way.name} failed on {environment}: {process.stderr.read()}")
        worked = [line for line in lines(run) if line["steps"]]
        passed = worked[-1]["wall_seconds"] - worked[0]["wall_seconds"]
        summary = json.loads((run / "summary.json").read_text())
        return {
            "score": round(summary["evaluation_return_mean"], 2),
            "steps_per_second": round((worked[-1]["steps"] - worked[0]["steps"]) / max(passed, 1e-9)),
            "seconds_to_first_update": round(start_up or 0.0, 1),
            "staleness": round(worked[-1].get("staleness", 0.0), 2),
        }


def lines(run: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics so far."""
    file = run / "metrics.jsonl"
    texts = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(text) for text in texts if text.endswith("\n")]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cluster.csv"))
    parser.add_argument("--only", default="", help="tasks whose name begins so")
    given = parser.parse_args(arguments)
    rows = read_rows(given.out)
    done = {(row["task"], row["way"], int(row["seed"])) for row in rows}
    for nodes in (1, 2):
        ways = [way for way in WAYS if way.nodes == nodes or (way.nodes == 0 and nodes == 2)]
        wanted = [
            (name, way, seed)
            for name in TASKS
            if name.startswith(given.only)
            for seed in given.seeds
            for way in ways
            if (name, way.name, seed) not in done
        ]
        if not wanted:
            continue
        with cluster(nodes) as address:
            for name, way, seed in wanted:
                row = {"task": name, "way": way.name, "seed": seed, **measured(TASKS[name], way, seed, address)}
                print(row, flush=True)
                rows.append(row)
                write_rows(given.out, rows)


if __name__ == "__main__":
    run_script(main)
