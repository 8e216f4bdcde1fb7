"""Measures the speed of raw environments and of training on them; each measurement takes some seconds."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from asyncrl import metrics
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
"""Longest time that a run may take to start training."""
END_SECONDS = 20.0
"""Longest time that a run may take to end after SIGTERM; then it is killed."""


@dataclass(frozen=True)
class Training:
    """The results of one measurement of training."""

    steps_per_second: float
    microseconds: dict[str, float]  # CPU time per step in each phase, mean over all workers
    private_bytes: list[int]  # memory of each worker that it shares with no other process
    total_bytes: int  # memory of all processes of the run, with shared pages counted once


def raw_speed(experiment: Experiment, seconds: float) -> float:
    """Steps per second of the environments alone, with random actions and as many processes as the run has workers.

    Raises:
        RunError: A process failed.
    """
    return run_processes(_step_randomly, (experiment, seconds), experiment.worker_count)


def run_processes(target: Callable[..., None], arguments: Sequence[Any], number: int) -> float:
    """Runs a measurement in several processes at once and returns the sum of their results.

    Args:
        target: Called with `arguments`, the number of the process, a barrier to wait at before measuring, and a queue
            for its result.
        arguments: The first arguments of `target`.
        number: Number of processes.

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
        raise RunError("a process of the measurement failed: its error is printed above")
    return sum(results.get() for _ in processes)


def _step_randomly(
    experiment: Experiment, seconds: float, seed: int, barrier: Barrier, results: SimpleQueue[float]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
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
    """Starts `asyncrl train` with these arguments, measures it after `WARM_UP` seconds, and stops it.

    Raises:
        RunError: The run ended by itself, or did not start to train.
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
    measured = [metrics.shares(line) for line in lines if line[metrics.STEPS] > before[metrics.STEPS]]
    steps = after[metrics.STEPS] - before[metrics.STEPS]
    if not measured:
        raise RunError(f"training made no update in {seconds:g} s: use more --seconds")
    rate = steps / (after[metrics.WALL_SECONDS] - before[metrics.WALL_SECONDS])
    cpu_per_step = (cpu - cpu_before) / (rate * seconds) * 1e6
    microseconds = {phase: cpu_per_step * statistics.fmean(line[phase] for line in measured) for phase in PHASES}
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
            raise RunError("the run did not start to train")
        time.sleep(0.1)


def _lines(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics written since workers made their first updates."""
    path = run / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if line[metrics.UPDATES] > 0 and metrics.shares(line)]


def _workers(pid: int) -> list[psutil.Process]:
    """The worker processes of a run: children of the fork server, or of the run itself if there is no fork server."""
    helpers = psutil.Process(pid).children()
    forked = [worker for helper in helpers for worker in helper.children()]
    return forked or [helper for helper in helpers if "resource_tracker" not in " ".join(helper.cmdline())]


def _cpu_seconds(workers: Sequence[psutil.Process]) -> float:
    return sum(sum(worker.cpu_times()[:2]) for worker in workers)


def _memory(process: psutil.Process, kind: str) -> int:
    """Bytes of a kind of memory; `uss` if the system does not know that kind (only Linux has `pss`)."""
    memory = process.memory_full_info()
    return int(getattr(memory, kind, memory.uss))
