"""Measures how long a run takes to replace a killed worker and to end, and how much work a crash costs.

python benchmarks/recovery.py ENV [REPEATS]
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from asyncrl.envs.make import describe
from asyncrl.resolution import resolve, starting_point
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import load_newest
from asyncrl.runtime.supervisor import Supervisor

CHECKPOINT_SECONDS = 10.0


def main() -> None:
    environment, repeats = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    show("a killed worker to the first rollout of the next, s", restarts(environment, repeats))
    for name in ("SIGINT", "SIGTERM"):
        seconds = [ending(environment, getattr(signal, name)) for _ in range(repeats)]
        show(f"{name} to the end of all processes, checkpoint written, s", seconds)
    crashes = [crash(environment, seed) for seed in range(repeats)]
    show("kill -9 of the supervisor to the end of all processes, s", [seconds for seconds, _, _ in crashes])
    show(f"steps lost by it, a checkpoint every {CHECKPOINT_SECONDS:g} s", [lost for _, lost, _ in crashes])
    show("seconds of work lost by it", [seconds for _, _, seconds in crashes])


def show(what: str, values: list[float]) -> None:
    print(f"{what}: median {statistics.median(values):,.3g}, from {min(values):,.3g} to {max(values):,.3g}", flush=True)


def restarts(environment: str, repeats: int) -> list[float]:
    """Seconds from killing worker 0 until the worker that replaces it has finished a rollout."""
    changes = {"workers": 2, "steps": 10**11, "until_return": None, "restarts": 10**6}
    experiment = resolve(starting_point(environment), changes)
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        supervisor = Supervisor(experiment, describe(experiment), RunFolder(Path(name)), notify=lambda _text: None)
        thread = threading.Thread(target=supervisor.run, args=([],))
        thread.start()
        counter = supervisor.shared.counter
        wait_for(lambda: counter.steps > 0 and len(workers(os.getpid())) == 2)
        first, second = sorted(workers(os.getpid()))  # worker 0 was started first
        for _ in range(repeats):
            os.kill(first, signal.SIGKILL)
            killed, steps = time.monotonic(), steps_of_worker_0(supervisor)
            wait_for(lambda steps=steps: steps_of_worker_0(supervisor) > steps)
            seconds.append(time.monotonic() - killed)
            [first] = workers(os.getpid()) - {second}
        counter.stop()
        thread.join()
    return seconds


def steps_of_worker_0(supervisor: Supervisor) -> int:
    return int(supervisor.shared.counter.slot(0).steps)


def workers(leader: int) -> set[int]:
    """Ids of the worker processes, which are children of the fork server."""
    servers = [child for child in psutil.Process(leader).children() if "forkserver" in " ".join(child.cmdline())]
    return {child.pid for server in servers for child in server.children() if child.status() != psutil.STATUS_ZOMBIE}


@contextmanager
def training(environment: str) -> Iterator[tuple[subprocess.Popen[bytes], RunFolder]]:
    """A run with two workers that has started to learn."""
    with tempfile.TemporaryDirectory() as name:
        run = RunFolder(Path(name) / "run")
        options = ["--steps", "100G", "--until-return", "None", "--workers", "2", "--run-dir", str(run.path)]
        command = [sys.executable, "-m", "asyncrl", "train", environment, *options]
        process = subprocess.Popen(
            [*command, "--checkpoint-seconds", str(CHECKPOINT_SECONDS)], stdout=subprocess.DEVNULL
        )
        wait_for(lambda: run.metrics_file.exists() and steps(run) > 0)
        yield process, run


def steps(run: RunFolder) -> int:
    lines = run.read_metrics()
    return int(lines[-1]["steps"]) if lines else 0


def ending(environment: str, number: int) -> float:
    """Seconds from a signal until all processes of the run have ended."""
    with training(environment) as (process, run):
        everyone = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        sent = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        wait_for(lambda: not any(map(psutil.pid_exists, everyone)))
        seconds = time.monotonic() - sent
        assert load_newest(run.checkpoints)[0].state.steps == steps(run)
    return seconds


def crash(environment: str, seed: int) -> tuple[float, float, float]:
    """Kills the supervisor at a random time.

    Returns:
        Seconds until all processes have ended, and the steps and seconds of work that are lost.
    """
    with training(environment) as (process, run):
        wait_for(lambda: any(run.checkpoints.glob("step-*")))
        time.sleep(random.Random(seed).uniform(0, CHECKPOINT_SECONDS))
        everyone = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        killed = time.monotonic()
        process.wait()
        wait_for(lambda: not any(map(psutil.pid_exists, everyone)))
        seconds = time.monotonic() - killed
        saved, last = load_newest(run.checkpoints)[0].state, run.read_metrics()[-1]
    return seconds, last["steps"] - saved.steps, last["wall_seconds"] - saved.telemetry.wall_seconds


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("this took longer than a minute")
        time.sleep(0.002)


if __name__ == "__main__":
    main()
