"""Speed of the raw environments, and of training on them; each a measurement of some seconds."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from asyncrl.config import Experiment
from asyncrl.envs.make import make_environments
from asyncrl.errors import RunError
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.phases import PHASES

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

WARM_UP = 2.0
"""Seconds of training before a measurement begins."""
START_SECONDS = 120.0
"""How long a run may take until it trains."""
END_SECONDS = 20.0
"""How long it may take to end."""


@dataclass
class Peer:
    """What training is compared with, and the speeds measured."""

    name: str
    setting: str = ""
    steps_per_second: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Training:
    """What one measurement of training found."""

    steps_per_second: float
    microseconds: dict[str, float]  # CPU time of a step in each phase, over all workers
    private_bytes: list[int]  # memory of each worker that no other process shares
    total_bytes: int  # of the run, shared pages counted once


def raw_speed(experiment: Experiment, seconds: float) -> float:
    """Steps per second of the experiment's environments alone: as many processes as workers, random actions.

    Raises:
        RunError: A process failed.
    """
    return run_processes(_step_randomly, (experiment, seconds), experiment.worker_count)


def run_processes(target: Callable[..., None], arguments: Sequence[Any], number: int) -> float:
    """The sum of what so many processes measure; each is called with `arguments`, its number, a barrier and a queue.

    Raises:
        RunError: A process failed.
    """
    context = process_context()
    barrier: Barrier = context.Barrier(number)
    results: SimpleQueue[float] = context.SimpleQueue()
    processes = [
        context.Process(target=target, args=(*arguments, each, barrier, results), daemon=True)  # type: ignore[attr-defined]
        for each in range(number)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RunError("a process of the measurement failed, or the environments in it: see above")
    return sum(results.get() for _ in processes)


def _step_randomly(
    experiment: Experiment, seconds: float, seed: int, barrier: Barrier, results: SimpleQueue[float]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    environments = make_environments(experiment, experiment.environment_count)
    environments.reset(seed=seed)
    environments.action_space.seed(seed)
    actions = [environments.action_space.sample() for _ in range(64)]
    barrier.wait(START_SECONDS)
    rounds, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        environments.step(actions[rounds % len(actions)])
        rounds += 1
    results.put(rounds * experiment.environment_count / (time.perf_counter() - started))


def training_speed(train: Sequence[str], seconds: float) -> Training:
    """Starts `asyncrl train` with these arguments, lets it warm up, measures, and stops it.

    Raises:
        RunError: The run ended by itself, or never began to train.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "asyncrl", "train", *train]
        command += ["--until-return", "None", "--steps", "1G", "--run-dir", str(run)]
        with (Path(folder) / "output").open("w+") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
            try:
                _until_it_trains(process, run)
                time.sleep(WARM_UP)
                workers = _workers(process.pid)
                before, cpu_before = _lines(run)[-1], _cpu_seconds(workers)
                time.sleep(seconds)
                lines, cpu = _lines(run), _cpu_seconds(workers)
                private = [_memory(worker, "uss") for worker in workers]
                everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                total = sum(_memory(one, "pss") for one in everyone)
            except (RunError, psutil.Error, IndexError):
                output.seek(0)
                raise RunError(f"the run could not be measured:\n{output.read().strip()}") from None
            finally:
                _end(process)
    after = lines[-1]
    measured = [line for line in lines if line["steps"] > before["steps"]]
    steps = after["steps"] - before["steps"]
    if not measured:
        raise RunError(f"no update was made in {seconds:g} s: give more --seconds")
    rate = steps / (after["wall_seconds"] - before["wall_seconds"])
    cpu_per_step = (cpu - cpu_before) / (rate * seconds) * 1e6
    shares = {phase: statistics.fmean(line[f"share_{phase}"] for line in measured) for phase in PHASES}
    microseconds = {phase: cpu_per_step * share for phase, share in shares.items()}
    return Training(rate, microseconds, private, total)


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _until_it_trains(process: subprocess.Popen[Any], run: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _lines(run):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RunError("it did not begin to train")
        time.sleep(0.1)


def _lines(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics that were written once workers had begun to learn."""
    path = run / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if line["updates"] > 0 and "share_learn" in line]


def _workers(pid: int) -> list[psutil.Process]:
    """The worker processes of a run: the fork server's children, or where there is none the run's own."""
    helpers = psutil.Process(pid).children()
    forked = [worker for helper in helpers for worker in helper.children()]
    return forked or [helper for helper in helpers if "resource_tracker" not in " ".join(helper.cmdline())]


def _cpu_seconds(workers: Sequence[psutil.Process]) -> float:
    return sum(sum(worker.cpu_times()[:2]) for worker in workers)


def _memory(process: psutil.Process, kind: str) -> int:
    """Bytes of memory of a kind, or of its own where the system does not tell (`pss` is Linux's)."""
    memory = process.memory_full_info()
    return int(getattr(memory, kind, memory.uss))
