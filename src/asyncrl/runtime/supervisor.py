"""The supervisor: starts workers, watches and restarts them, writes metrics and checkpoints, and ends the run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor

from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment
from asyncrl.errors import RunError, UserError
from asyncrl.reporting.sink import Sink
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import Checkpoint, CheckpointState
from asyncrl.runtime.evaluation import EvaluatorProcess, InlineEvaluator
from asyncrl.runtime.evaluator import Evaluation
from asyncrl.runtime.failure import Failure, RestartBudget
from asyncrl.runtime.learned import Frozen, Learned
from asyncrl.runtime.processes import ProcessWorkers, process_context
from asyncrl.runtime.saver import RETRY_SECONDS, DiskWatch, Notify, Saver, reason_of
from asyncrl.runtime.serial import SerialWorkers
from asyncrl.runtime.shared import SharedState
from asyncrl.runtime.telemetry import Metrics, Telemetry
from asyncrl.runtime.worker import WorkerSetup, learning_rate
from asyncrl.types import EnvironmentInfo, Report

METRICS_SECONDS = (0.2, 10.0)
"""Between two lines of metrics: at a run's start, so that short runs have a curve too, and after some hours."""
LOCK_SECONDS = 5.0
"""How long nobody can hold the lock of an experiment that has one, unless a dead worker does."""
STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Workers(Protocol):
    """The workers of a run, wherever they live."""

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, or another one in the place of one that failed."""
        ...

    def poll(self, timeout: float) -> list[Report | Failure]:
        """What has come in, waiting at most `timeout` seconds for the first; a worker that failed is gone."""
        ...

    @property
    def running(self) -> int:
        """Number of workers that may still report."""
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
        notify: Takes what people should know.

    Raises:
        UserError: The checkpoint does not fit the experiment.
    """

    def __init__(
        self,
        experiment: Experiment,
        info: EnvironmentInfo,
        folder: RunFolder,
        checkpoint: Checkpoint | None = None,
        notify: Notify = print,
    ) -> None:
        self.experiment, self.info, self.folder, self.notify = experiment, info, folder, notify
        self.context = process_context()
        self.learned = Learned(experiment, info, self.context)
        self.checkpoint, steps = checkpoint, 0
        self.session, self.telemetry = 1, Telemetry(info.frames_per_step)
        if checkpoint is not None:
            self.learned.restore(checkpoint)
            steps, self.session = checkpoint.state.steps, checkpoint.state.sessions + 1
            self.telemetry = Telemetry(info.frames_per_step, steps, checkpoint.state.telemetry)
        self.disk = DiskWatch(notify)
        self.saver = Saver(folder.checkpoints, experiment.supervision, self.disk, steps)
        self.budget = RestartBudget(experiment.supervision.restarts)
        self.attempts = [0] * experiment.worker_count  # of each worker in this session
        self.last_failure: Failure | None = None
        self.evaluated_at = steps
        self.evaluation: tuple[int, Evaluation] | None = None  # that no line of metrics has told of
        self.last_line: Metrics = {}
        self.deserted: list[Sink] = []

    @property
    def shared(self) -> SharedState:
        """What workers share."""
        return self.learned.shared

    @property
    def reason_to_end(self) -> str:
        """Why a run that goes on from a checkpoint has nothing left to do; empty if it has."""
        if self.shared.counter.reached(self.experiment.steps):
            return f"its {self.experiment.steps:,} steps are done"
        if self.telemetry.reached(self.experiment.until_return):
            return f"its goal, a mean return of {self.experiment.until_return:g}, is reached"
        return ""

    def run(self, sinks: Sequence[Sink]) -> Outcome:
        """Trains until the steps are done, the goal is reached, a signal comes or no worker can go on."""
        warning = self.saver.resume()
        if warning:
            self.notify(f"warning: {warning}; a new best one takes its place")
        with _stop_signals() as received, self._started_workers() as workers, self._started_evaluator() as evaluator:
            status, ended_by, exit_code, error = "done", "steps", 0, ""
            try:
                self._watch(workers, evaluator, received, sinks)
                if self.telemetry.reached(self.experiment.until_return):
                    ended_by = "goal"
            except (RunError, UserError) as failure:
                status, ended_by, error = "failed", "failure", str(failure)
                exit_code = 2 if isinstance(failure, UserError) else 1
            except Exception:  # a mistake of our own must not cost what was learned
                self._save(workers)
                raise
            if received:
                status, ended_by, exit_code = "stopped", signal.Signals(received[0]).name, 128 + received[0]
            for report in workers.stop():
                self.telemetry.add(report)
            self._write_line(sinks, workers.running)
            if not self._save_at_last(workers, wait=lambda: status == "done" and not received):
                lost = f"the end of the run could not be saved ({reason_of(self.saver.error)})"
                status, exit_code, error = "failed", 1, f"{error}\n{lost}".strip()
            summary = self._summary(status, ended_by, error)
            try:
                self.folder.write_summary(summary)
            except OSError as problem:
                self.notify(f"warning: the summary cannot be written ({reason_of(problem)})")
        return Outcome(status, exit_code, summary, error)

    def _watch(
        self,
        workers: Workers,
        evaluator: EvaluatorProcess | InlineEvaluator | None,
        received: Sequence[int],
        sinks: Sequence[Sink],
    ) -> None:
        """Takes in reports, restarts workers, and writes metrics and checkpoints in their time, until the end."""
        shortest, longest = METRICS_SECONDS
        started = written_at = time.monotonic()
        while workers.running and not received:
            for message in workers.poll(0.05):
                if isinstance(message, Report):
                    self.telemetry.add(message)
                elif not received:
                    self._deal_with(message, workers)
            if self.telemetry.reached(self.experiment.until_return):
                return
            if evaluator is not None:
                self._evaluate(evaluator)
            now = time.monotonic()
            if now - written_at >= min(longest, max(shortest, _pace(now - started))):
                written_at = now
                self._write_line(sinks, workers.running)
            if self.saver.is_due(self.shared.counter.steps):
                self._save(workers)
        if not received and not self.shared.counter.reached(self.experiment.steps):
            failure = self.last_failure
            reason = f": worker {failure.worker} {failure.reason}\n{failure.traceback}".rstrip() if failure else ""
            raise RunError(f"no worker is left{reason}")

    def _deal_with(self, failure: Failure, workers: Workers) -> None:
        """Starts another worker in the place of one that failed, as long as it has restarts left."""
        if failure.exit_code is not None:
            raise (UserError if failure.exit_code == 2 else RunError)(failure.reason)
        repeated = self.last_failure is not None and self.last_failure.traceback == failure.traceback
        text = f"worker {failure.worker} {failure.reason}"
        self.last_failure = failure
        self._free_lock()
        if self.shared.counter.reached(self.experiment.steps):
            self.notify(f"warning: {text}; the run's steps are done without it")
            return
        spent = self.budget.spend(failure.worker, time.monotonic())
        if spent is None:
            if left := workers.running:
                others = f"{left} worker{'s' if left > 1 else ''}"
                self.notify(f"warning: {text}; it has no restarts left, and the run goes on with {others}")
            return
        self.telemetry.restarts += 1
        self.attempts[failure.worker] += 1
        details = "" if repeated or not failure.traceback else f"\n{failure.traceback.rstrip()}"
        budget = self.experiment.supervision.restarts
        self.notify(f"warning: {text}; it is restarted ({spent} of {budget} within ten minutes){details}")
        workers.start(self._setup(failure.worker))

    def _free_lock(self) -> None:
        """Frees the lock of an experiment that has one, if the worker that died held it."""
        if self.experiment.optimizer.lock:
            lock: Any = self.shared.lock
            lock.acquire(timeout=LOCK_SECONDS)
            lock.release()

    def _setup(self, number: int) -> WorkerSetup:
        attempt = self.attempts[number]
        return WorkerSetup(number, self.experiment, self.info, self.shared, self.folder.path, self.session, attempt)

    @contextmanager
    def _started_workers(self) -> Iterator[Workers]:
        workers: Workers
        if self.experiment.runtime == "serial":
            torch.set_num_threads(1)
            workers = self._serial_workers()
        else:
            setups = [self._setup(number) for number in range(self.experiment.worker_count)]
            workers = ProcessWorkers(setups, self.context, self.experiment.supervision.stall_timeout)
        try:
            yield workers
        finally:
            workers.kill()
            self.folder.forget_empty_stacks()

    def _serial_workers(self) -> SerialWorkers:
        """Workers that go on to the bit where those of the checkpoint stopped, if there are as many of them."""
        saved = {} if self.checkpoint is None else self.checkpoint.state.workers
        numbers = range(self.experiment.worker_count)
        if self.checkpoint is None or set(saved) != {str(number) for number in numbers}:
            return SerialWorkers([self._setup(number) for number in numbers])
        setups = []
        for number in numbers:
            session, self.attempts[number] = saved[str(number)]
            setups.append(
                WorkerSetup(
                    number, self.experiment, self.info, self.shared, self.folder.path, session, self.attempts[number]
                )
            )
        workers = SerialWorkers(setups)
        restored = [workers.restore(number, _part(self.checkpoint.tensors, number)) for number in numbers]
        if not all(restored):
            self.notify("warning: the environments do not repeat themselves: they begin new episodes")
        return workers

    @contextmanager
    def _started_evaluator(self) -> Iterator[EvaluatorProcess | InlineEvaluator | None]:
        if self.experiment.supervision.eval_every is None:
            yield None
            return
        self.frozen = Frozen.allocate(self.learned, self.context)
        evaluator: EvaluatorProcess | InlineEvaluator
        if self.experiment.runtime == "serial":
            evaluator = InlineEvaluator(self.experiment, self.info, self.frozen)
        else:
            evaluator = EvaluatorProcess(self.experiment, self.info, self.frozen, self.context)
        try:
            yield evaluator
        finally:
            evaluator.kill()

    def _evaluate(self, evaluator: EvaluatorProcess | InlineEvaluator) -> None:
        """Starts an evaluation when one is due, and takes in what the last one found."""
        every, steps = self.experiment.supervision.eval_every, self.shared.counter.steps
        if every is not None and not evaluator.busy and steps // every != self.evaluated_at // every:
            self.evaluated_at = steps
            self.frozen.take(self.shared)
            evaluator.start(steps)
        found = evaluator.poll()
        if isinstance(found, Failure):
            self.notify(f"warning: the evaluation {found.reason}; the next one is tried again")
        elif found is not None:
            steps, result = self.evaluation = found
            try:
                self.folder.add_evaluation({"steps": steps, **result.to_dict()})
            except OSError as error:
                self.disk.failed("the evaluation", error)
            checkpoint = Checkpoint(self.learned.agent_tensors(self.frozen), self._state(steps))
            self.saver.save_best(checkpoint, result.return_mean)

    def _write_line(self, sinks: Sequence[Sink], workers: int) -> None:
        counts = self.shared.counter.counts
        self.last_line = self.telemetry.line(counts, learning_rate(self.experiment, counts.steps), workers)
        if self.evaluation is not None:
            steps, result = self.evaluation
            self.last_line |= {"evaluation_return_mean": result.return_mean, "evaluation_steps": steps}
            self.evaluation = None
        for sink in [sink for sink in sinks if sink not in self.deserted]:
            try:
                sink.write(self.last_line)
                self.disk.worked(sink.name)
            except BrokenPipeError:
                self.deserted.append(sink)
                self.notify(f"warning: nobody reads {sink.name} any more: training goes on without")
            except OSError as error:
                self.disk.failed(sink.name, error)

    def _save(self, workers: Workers) -> bool:
        tensors, saved = self.learned.tensors(), {}
        if isinstance(workers, SerialWorkers):
            for number, (setup, snapshot) in workers.snapshots().items():
                saved[str(number)] = setup.session, setup.attempt
                tensors |= {f"workers/{number}/{name}": tensor for name, tensor in snapshot.items()}
        state = self._state(self.shared.counter.steps, saved)
        return self.saver.save(Checkpoint(tensors, state), self.telemetry.return_mean)

    def _save_at_last(self, workers: Workers, wait: Callable[[], bool]) -> bool:
        """Saves the end of the run; tries again while `wait` says so."""
        while not self._save(workers):
            if not wait():
                return False
            self.notify("the run has come to its end and waits for room to be saved; Ctrl-C gives it up")
            until = time.monotonic() + RETRY_SECONDS
            while wait() and time.monotonic() < until:
                time.sleep(0.1)
        return True

    def _state(self, steps: int, workers: Mapping[str, tuple[int, int]] | None = None) -> CheckpointState:
        counts = self.shared.counter.counts
        return CheckpointState(
            environment=self.info.id,
            algorithm=algorithm_name(self.experiment.algorithm),
            optimizer=self.experiment.optimizer.optimizer,
            steps=steps,
            updates=counts.updates,
            sessions=self.session,
            telemetry=self.telemetry.state(counts.episodes),
            target_refreshed_at=self.shared.counter.refreshed_at,
            workers=dict(workers or {}),
        )

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


def _pace(age: float) -> float:
    """Seconds between two lines of metrics at an age of the run: two until an hour has passed, ten after five."""
    return min(age / 20, max(2.0, age / 1800))


def _part(tensors: Mapping[str, Tensor], worker: int) -> dict[str, Tensor]:
    prefix = f"workers/{worker}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects signals that ask for an end, instead of dying of them; a second one ends the program at once.

    SIGHUP is left alone where it is ignored, as under nohup.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(number)
            return
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)  # killing the workers must come to its end
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
