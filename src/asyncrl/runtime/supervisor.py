"""The supervisor: starts workers, watches them, writes metrics and checkpoints, and ends the run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch

from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment
from asyncrl.errors import RunError, UserError
from asyncrl.functional.moments import Moments
from asyncrl.networks.assemble import flatten_parameters, make_network
from asyncrl.optim.hogwild import statistic_names
from asyncrl.reporting.sink import Sink
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import Checkpoint, load_parameters, save_checkpoint
from asyncrl.runtime.processes import ProcessWorkers, process_context
from asyncrl.runtime.serial import SerialWorkers
from asyncrl.runtime.shared import Counter, SharedMoments, SharedState, SharedVector
from asyncrl.runtime.telemetry import Metrics, Telemetry
from asyncrl.runtime.worker import WorkerSetup, learning_rate
from asyncrl.types import EnvironmentInfo, Report

METRICS_SECONDS = (0.2, 2.0)
"""Between two lines of metrics: at a run's start, so that short runs have a curve too, and later."""
CHECKPOINT_SECONDS = 60.0


class Workers(Protocol):
    """The workers of a run, wherever they live."""

    def poll(self, timeout: float) -> list[Report]:
        """Reports that have come in, waiting at most `timeout` seconds for the first; raises if a worker failed."""
        ...

    @property
    def running(self) -> bool:
        """Whether any worker may still report."""
        ...

    def stop(self) -> list[Report]:
        """Ends all workers and returns their last reports."""
        ...

    def kill(self) -> None:
        """Makes sure that no worker is left, however the run ended."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str  # done, stopped or failed
    exit_code: int
    summary: Metrics
    error: str = ""


class Supervisor:
    """Runs one experiment.

    Args:
        experiment: What to run.
        info: Its environment.
        folder: Where to write.
        checkpoint: Where to go on from, if anywhere.

    Raises:
        UserError: The checkpoint does not fit the experiment.
    """

    def __init__(
        self,
        experiment: Experiment,
        info: EnvironmentInfo,
        folder: RunFolder,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.experiment, self.info, self.folder = experiment, info, folder
        self.sessions = 1 if checkpoint is None else int(checkpoint.state["sessions"]) + 1
        self.telemetry = (
            Telemetry(info.frames_per_step)
            if checkpoint is None
            else Telemetry(info.frames_per_step, int(checkpoint.state["steps"]), checkpoint.state["telemetry"])
        )
        self.network = make_network(experiment, info)
        self.parameters = flatten_parameters(self.network)
        self.shared = self._allocate()
        self._share_parameters()
        if checkpoint is not None:
            self._restore(checkpoint)
        self.saved_at = time.monotonic()
        self.last_line: Metrics = {}

    def run(self, sinks: Sequence[Sink]) -> Outcome:
        """Trains until the steps are done, the goal is reached, a signal comes or a worker fails."""
        with _stop_signals() as received, self._started_workers() as workers:
            status, ended_by, exit_code, error = "done", "steps", 0, ""
            try:
                self._watch(workers, received, sinks)
                if self.telemetry.reached(self.experiment.until_return):
                    ended_by = "goal"
            except (RunError, UserError) as failure:
                status, ended_by, error = "failed", "failure", str(failure)
                exit_code = 2 if isinstance(failure, UserError) else 1
            if received:
                status, ended_by, exit_code = "stopped", signal.Signals(received[0]).name, 128 + received[0]
            for report in workers.stop():
                self.telemetry.add(report)
            self._write_line(sinks)
            self._save()
            summary = self._summary(status, ended_by, error)
            self.folder.write_summary(summary)
        return Outcome(status, exit_code, summary, error)

    def _watch(self, workers: Workers, received: Sequence[int], sinks: Sequence[Sink]) -> None:
        """Takes in reports, and writes metrics and checkpoints in their time, until the run should end."""
        shortest, longest = METRICS_SECONDS
        started = written_at = time.monotonic()
        while workers.running and not received:
            for report in workers.poll(0.05):
                self.telemetry.add(report)
            if self.telemetry.reached(self.experiment.until_return):
                return
            now = time.monotonic()
            if now - written_at >= min(longest, max(shortest, (now - started) / 20)):
                written_at = now
                self._write_line(sinks)
            if time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
                self._save()

    def _allocate(self) -> SharedState:
        context, size, workers = process_context(), self.parameters.numel(), self.experiment.worker_count
        settings, normalizer = self.experiment.optimizer, self.network.normalizer
        return SharedState(
            parameters=SharedVector(size, context),
            target=None if self.experiment.algorithm.target_interval is None else SharedVector(size, context),
            statistics={name: SharedVector(size, context) for name in statistic_names(settings.optimizer, workers)},
            moments=None if normalizer is None else SharedMoments(workers, normalizer.size, context),
            counter=Counter(workers, context),
            lock=context.Lock() if settings.lock else nullcontext(),
        )

    def _share_parameters(self) -> None:
        """θ and θ⁻ become the network's parameters."""
        self.shared.parameters.tensor.copy_(self.parameters)
        if self.shared.target is not None:
            self.shared.target.tensor.copy_(self.parameters)

    @contextmanager
    def _started_workers(self) -> Iterator[Workers]:
        seeds = np.random.SeedSequence([self.experiment.seed, self.sessions]).spawn(self.experiment.worker_count)
        setups = [
            WorkerSetup(number, self.experiment, self.info, self.shared, seed) for number, seed in enumerate(seeds)
        ]
        workers: Workers
        if self.experiment.runtime == "serial":
            torch.set_num_threads(1)
            workers = SerialWorkers(setups)
        else:
            workers = ProcessWorkers(setups, process_context())
        try:
            yield workers
        finally:
            workers.kill()

    def _write_line(self, sinks: Sequence[Sink]) -> None:
        steps, updates = self.shared.counter.steps, self.shared.counter.updates
        self.last_line = self.telemetry.line(steps, updates, learning_rate(self.experiment, steps))
        for sink in sinks:
            sink.write(self.last_line)

    def _save(self) -> None:
        self.parameters.copy_(self.shared.parameters.tensor)
        shared = self.shared
        tensors: dict[str, torch.Tensor] = {}
        if shared.moments is not None and self.network.normalizer is not None:
            moments = shared.moments.combined
            self.network.normalizer.set(moments)
            tensors |= {
                "moments/count": moments.count,
                "moments/mean": moments.mean,
                "moments/squares": moments.squares,
            }
        tensors |= {f"parameters/{name}": tensor for name, tensor in self.network.state_dict().items()}
        if shared.target is not None:
            tensors["target"] = shared.target.tensor.clone()
        tensors |= {f"optimizer/{name}": vector.tensor.clone() for name, vector in shared.statistics.items()}
        state = {
            "environment": self.info.id,
            "algorithm": algorithm_name(self.experiment.algorithm),
            "optimizer": self.experiment.optimizer.optimizer,
            "steps": shared.counter.steps,
            "updates": shared.counter.updates,
            "sessions": self.sessions,
            "telemetry": self.telemetry.state(),
        }
        save_checkpoint(self.folder.checkpoints, Checkpoint(tensors, state))
        self.saved_at = time.monotonic()

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_parameters(self.network, checkpoint, self.info)
        self._share_parameters()
        shared, saved = self.shared, checkpoint.tensors
        shared.counter.resume(int(checkpoint.state["steps"]), int(checkpoint.state["updates"]))
        if checkpoint.state["optimizer"] != self.experiment.optimizer.optimizer:
            raise UserError(f"the run was trained with --optimizer {checkpoint.state['optimizer']}: resume with it")
        if shared.target is not None:
            shared.target.tensor.copy_(saved["target"])
        if shared.moments is not None:
            shared.moments.resume(Moments(saved["moments/count"], saved["moments/mean"], saved["moments/squares"]))
        for name, vector in shared.statistics.items():
            if f"optimizer/{name}" in saved:  # a worker that is new in this session begins with none of its own
                vector.tensor.copy_(saved[f"optimizer/{name}"])

    def _summary(self, status: str, ended_by: str, error: str) -> dict[str, Any]:
        return {
            **self.last_line,
            **self.telemetry.shares(),
            "status": status,  # done, stopped or failed
            "ended_by": ended_by,  # steps, goal, failure, or a signal's name
            **({"error": error} if error else {}),
            "environment": self.info.id,
            "algorithm": algorithm_name(self.experiment.algorithm),
            "preset": self.experiment.preset,
            "seed": self.experiment.seed,
            "workers": self.experiment.worker_count,
            "envs_per_worker": self.experiment.environment_count,
            "best_return_mean": self.telemetry.best_return_mean,
        }


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them; a second one interrupts at once."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
