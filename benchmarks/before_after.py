"""Compares the speed of training of two versions of asyncrl, in turns and on the same cores.

Example, where `git worktree add ../before COMMIT` has checked out the older version:

    python benchmarks/before_after.py ../before/src src --rounds 5

Each round of a case trains for some seconds with the one version and then with the other; odd rounds begin with the
second one. Where there are more than two cores, several rounds run at the same time, each on two cores of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PONG = ("ALE/Pong-v5", "--steps", "8M")
PLAIN = ("--preset", "tuned/acrobot", "--envs-per-worker", "64", "--steps", "50M")  # the same settings in all versions
CASES: dict[str, tuple[str, ...]] = {
    "Pong, A3C": PONG,
    "Pong, A3C with LSTM": (*PONG, "--memory", "lstm"),
    "Pong, n-step Q": (*PONG, "--algorithm", "nstep-q"),
    "Catch, A3C": ("Catch", *PLAIN, "--rollout-length", "9"),
    "CartPole, A3C": ("CartPole-v1", *PLAIN, "--rollout-length", "8"),
}
WARM_UP = 3.0
"""Seconds of training, after its first steps, that are not counted."""
PATIENCE = 120.0
"""Longest time in seconds until a training makes its first steps."""


def speed(source: Path, arguments: tuple[str, ...], seconds: float, cores: set[int]) -> float:
    """Steps per second of a training by the version whose packages lie in the folder `source`."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            sys.executable,
            "-m",
            "asyncrl",
            "train",
            *arguments,
            "--until-return",
            "None",
            "--run-dir",
            str(run),
        ]
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while last_line(run)["steps"] == 0:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"this training made no steps: {' '.join(command)}")
                time.sleep(0.1)
            time.sleep(WARM_UP)
            first = last_line(run)
            time.sleep(seconds)
            last = last_line(run)
        finally:
            process.terminate()
            process.wait()
    return float((last["steps"] - first["steps"]) / (last["wall_seconds"] - first["wall_seconds"]))


def last_line(run: Path) -> dict[str, float]:
    """The newest whole line of metrics of a run."""
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    return json.loads(whole[-1]) if whole else {"steps": 0}


def main() -> None:
    """Prints a table of both versions' speeds and their ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="folder src of the one version")
    parser.add_argument("after", type=Path, help="folder src of the other version")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="measured seconds of each training")
    options = parser.parse_args()

    cores = sorted(os.sched_getaffinity(0))
    lanes = [set(cores[start : start + 2]) for start in range(0, len(cores) - 1, 2)] or [set(cores)]
    tasks: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for number in range(options.rounds):
        for case in options.cases:
            tasks.put((case, number))
    results: dict[str, list[tuple[float, float]]] = {case: [] for case in options.cases}

    def work(lane: set[int]) -> None:
        while True:
            try:
                case, number = tasks.get_nowait()
            except queue.Empty:
                return
            versions = [options.before, options.after]
            order = versions[:: -1 if number % 2 else 1]
            measured = {source: speed(source, CASES[case], options.seconds, lane) for source in order}
            results[case].append((measured[options.before], measured[options.after]))
            print(case, number, *(round(value) for value in results[case][-1]), flush=True)

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n| case | steps/s before, median | after | ratio of each round | median |\n|---|---|---|---|---|")
    for case, pairs in results.items():
        ratios = sorted(after / before for before, after in pairs)
        before, after = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {case} | {before:,.0f} | {after:,.0f} | {listed} | **{statistics.median(ratios):.2f}** |")


if __name__ == "__main__":
    main()
