"""How long `asyncrl train` takes to solve small tasks, and what the trained agents score: one row per seed.

    python benchmarks/learning.py catch catch-memory cartpole --seeds 3

Each row is one `asyncrl train` from the shell, imports included, then one `asyncrl eval`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TASKS: dict[str, tuple[list[str], list[str]]] = {
    # name: (arguments of train, arguments of eval)
    "catch": (["Catch"], ["--episodes", "1000", "--deterministic"]),
    "catch-memory": (["CatchMemory"], ["--episodes", "1000", "--deterministic"]),
    "catch-memory-feed-forward": (["CatchMemory", "--memory", "none"], ["--episodes", "1000", "--deterministic"]),
    "cartpole": (["CartPole-v1"], ["--episodes", "100"]),
}


def asyncrl(*arguments: str) -> str:
    command = [sys.executable, "-m", "asyncrl", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def measure(task: str, seed: int, folder: Path) -> dict[str, Any]:
    train, evaluate = TASKS[task]
    run = folder / f"{task}-{seed}"
    started = time.monotonic()
    asyncrl("train", *train, "--seed", str(seed), "--run-dir", str(run))
    seconds = time.monotonic() - started
    summary = json.loads((run / "summary.json").read_text())
    result = json.loads(asyncrl("eval", str(run), *evaluate, "--json"))
    return {
        "task": task,
        "seed": seed,
        "seconds": round(seconds, 1),
        "steps": summary["steps"],
        "eval_return_mean": round(result["return_mean"], 3),
        "eval_return_min": result["return_min"],
        "episodes": result["episodes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help=", ".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"commit {commit}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}\n")
    print("| task | seed | seconds | steps | mean return in evaluation | worst episode | episodes |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for task in given.tasks:
            for seed in range(1, given.seeds + 1):
                row = measure(task, seed, Path(folder))
                print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
