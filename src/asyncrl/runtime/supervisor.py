"""The supervisor: starts workers, watches and restarts them, writes metrics and checkpoints, and ends the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch

from asyncrl import metrics
from asyncrl.algorithms import algorithm_name
from asyncrl.callbacks import Callback
from asyncrl.config import Experiment
from asyncrl.errors import RunError, UserError
from asyncrl.reporting.json_lines import JsonLines
from asyncrl.reporting.sink import Sink
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import Checkpoint, CheckpointState
from asyncrl.runtime.evaluation import EvaluatorProcess, InlineEvaluator
from asyncrl.runtime.evaluator import Evaluation
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.learned import Frozen, Learned
from asyncrl.runtime.processes import ProcessWorkers, process_context
from asyncrl.runtime.reporters import Reporters
from asyncrl.runtime.restarts import Restarts
from asyncrl.runtime.saver import RETRY_SECONDS, DiskWatch, Notify, Saver, reason_of
from asyncrl.runtime.serial import SerialWorkers, memory_file
from asyncrl.runtime.store import SharedState, learning_rate
from asyncrl.runtime.telemetry import Metrics, Telemetry
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.runtime.worker_states import Living, WorkerStates
from asyncrl.signals import collected_signals, name_of
from asyncrl.tree import pack, unpack
from asyncrl.types import EnvironmentInfo, Report

METRICS_SECONDS = (0.2, 10.0)
"""Between two lines of metrics: at a run's start, so that short runs have a curve too, and after some hours."""


class Workers(Living, Protocol):
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
        self.restarts = Restarts(experiment, self.shared, notify)
        self.evaluated_at = steps
        self.evaluation: tuple[int, Evaluation] | None = None  # that no line of metrics has told of
        self.unsaved_best: Checkpoint | None = None  # that found no room
        self.last_line: Metrics = {}
        self.reporters = Reporters((), (), self.disk, notify)

    @property
    def shared(self) -> SharedState:
        """What workers share."""
        return self.learned.shared

    @property
    def reason_to_end(self) -> str:
        """Why a run that goes on from a checkpoint has nothing left to do; empty if it has."""
        if self.shared.counter.reached(self.experiment.steps):
            return f"its {self.experiment.steps:,} steps are done"
        match self._early_end():
            case "goal":
                return f"its goal, a mean return of {self.experiment.until_return:g}, is reached"
            case "time":
                return f"its {self.experiment.until_seconds:g} seconds are over"
        return ""

    def _early_end(self) -> Literal["", "goal", "time", "callback"]:
        """What ends the run before its steps are done, if it is there."""
        if self.reporters.stopped:
            return "callback"
        if self.telemetry.reached(self.experiment.until_return):
            return "goal"
        limit = self.experiment.until_seconds
        return "time" if limit is not None and self.telemetry.wall_seconds >= limit else ""

    def run(self, sinks: Sequence[Sink], callbacks: Sequence[Callback] = ()) -> Outcome:
        """Trains until the steps are done, the goal is reached, a signal comes or no worker can go on."""
        warning = self.saver.take_up_score()
        if warning:
            self.notify(f"warning: {warning}; a new best one takes its place")
        workers = self._make_workers()
        self.states = WorkerStates(self.folder.workers_file, workers, self.restarts, self.shared.counter)
        self.reporters = Reporters([*sinks, self.states], callbacks, self.disk, self.notify)
        with collected_signals() as received, self._working(workers), self._evaluator() as evaluator:
            status, ended_by, exit_code, error = "done", "steps", 0, ""
            try:
                self.reporters.start(self.experiment, self.folder, self.session, self.shared.counter.steps)
                self._watch(workers, evaluator, received)
                self.reporters.check()
                ended_by = self._early_end() or ended_by
            except (RunError, UserError) as failure:
                status, ended_by, error = "failed", "failure", str(failure)
                exit_code = 2 if isinstance(failure, UserError) else 1
            except Exception:  # a mistake of our own must not cost what was learned
                self._save(workers)
                raise
            for report in workers.stop():
                self._take_report(report)
            if evaluator is not None and status == "done":
                self._evaluate_at_last(evaluator, received)
            if received:
                status, ended_by, exit_code = "stopped", name_of(received[0]), 128 + received[0]
            self.states.end()
            self._write_line(workers.running)
            if not self._save_at_last(workers, wait=lambda: status == "done" and not received):
                lost = f"the end of the run could not be saved ({reason_of(self.saver.error)})"
                status, exit_code, error = "failed", 1, f"{error}\n{lost}".strip()
            return self._tell_the_end(partial(self._outcome, status, ended_by, exit_code, error))

    def _tell_the_end(self, outcome_now: Callable[[], Outcome]) -> Outcome:
        """Writes the summary, and tells callbacks and then sinks of it; a callback that fails at it changes it."""
        outcome = outcome_now()
        self._write_summary(outcome)
        self.reporters.end(self.folder, outcome.summary)
        if outcome_now() != outcome:
            outcome = outcome_now()
            self._write_summary(outcome)
        self.reporters.summary(outcome.summary)
        return outcome

    def _write_summary(self, outcome: Outcome) -> None:
        try:
            self.folder.write_summary(outcome.summary)
        except OSError as problem:
            self.notify(f"warning: the summary cannot be written ({reason_of(problem)})")

    def _watch(
        self,
        workers: Workers,
        evaluator: EvaluatorProcess | InlineEvaluator | None,
        received: Sequence[int],
    ) -> None:
        """Takes in reports, restarts workers, and writes metrics and checkpoints in their time, until the end."""
        shortest, longest = METRICS_SECONDS
        started = written_at = time.monotonic()
        is_done = partial(self.shared.counter.reached, self.experiment.steps)
        while (workers.running or (self.restarts.due and not is_done())) and not received:
            for message in workers.poll(0.05):
                if isinstance(message, Report):
                    self._take_report(message)
                    self.restarts.heard(message)
                elif not received:
                    self.restarts.failed(message, workers.running)
            for number in self.restarts.pop_due():
                self.telemetry.restarts += 1
                workers.start(self._setup(number))
            if self._early_end():
                return
            if evaluator is not None:
                self._evaluate(evaluator)
            now = time.monotonic()
            if now - written_at >= min(longest, max(shortest, _pace(now - started))):
                written_at = now
                self._write_line(workers.running)
            if self.saver.is_due(self.shared.counter.steps):
                self._save(workers)
        if not received and not is_done():
            failure = self.restarts.last_failure
            reason = f": worker {failure.worker} {failure.reason}\n{failure.traceback}".rstrip() if failure else ""
            raise RunError(f"no worker is left{reason}")

    def _setup(self, number: int, session: int | None = None) -> WorkerSetup:
        return WorkerSetup(
            number,
            self.experiment,
            self.info,
            self.shared,
            self.folder.path,
            self.session if session is None else session,
            self.restarts.attempts[number],
        )

    def _make_workers(self) -> SerialWorkers | ProcessWorkers:
        """The run's workers; serial ones have begun, processes have not."""
        if self.experiment.runtime == "processes":
            return ProcessWorkers(self.shared.counter, self.context, self.experiment.supervision.stall_timeout)
        torch.set_num_threads(1)
        saved = {} if self.checkpoint is None else self.checkpoint.state.workers
        workers, numbers = SerialWorkers(), range(self.experiment.worker_count)
        if self.checkpoint is None or set(saved) != {str(number) for number in numbers}:
            for number in numbers:
                workers.start(self._setup(number))
            return workers
        missing = []
        for number in numbers:  # they go on to the bit where those of the checkpoint stopped
            session, self.restarts.attempts[number] = saved[str(number)]
            workers.start(self._setup(number, session))
            memory = self.checkpoint.paths.get(memory_file(number))
            missing.append(workers.restore(number, unpack(f"workers/{number}", self.checkpoint.tensors), memory))
        for reason in sorted(set(filter(None, missing))):
            self.notify(f"warning: {reason}")
        return workers

    @contextmanager
    def _working(self, workers: SerialWorkers | ProcessWorkers) -> Iterator[None]:
        """Starts workers that are processes, and makes sure that none is left."""
        try:
            if isinstance(workers, ProcessWorkers):
                for number in range(self.experiment.worker_count):
                    workers.start(self._setup(number))
            yield
        finally:
            workers.kill()
            self.folder.forget_empty_stacks()

    @contextmanager
    def _evaluator(self) -> Iterator[EvaluatorProcess | InlineEvaluator | None]:
        if self.experiment.supervision.eval_every is None:
            yield None
            return
        self.frozen = Frozen.allocate(self.learned, self.context)
        self.evaluations = JsonLines(self.folder.evaluations_file)
        evaluator: EvaluatorProcess | InlineEvaluator
        if self.experiment.runtime == "serial":
            evaluator = InlineEvaluator(self.experiment, self.info, self.frozen)
        else:
            evaluator = EvaluatorProcess(self.experiment, self.info, self.frozen, self.context)
        try:
            yield evaluator
        finally:
            evaluator.kill()
            self.evaluations.close()

    def _evaluate(self, evaluator: EvaluatorProcess | InlineEvaluator) -> bool:
        """Takes in what an evaluation found, starts the next one when it is due, and says whether one goes on."""
        self._take_in(evaluator)
        every, steps = self.experiment.supervision.eval_every, self.shared.counter.steps
        if every is not None and not evaluator.busy and steps // every != self.evaluated_at // every:
            self.evaluated_at = steps
            self.frozen.take(self.shared)
            evaluator.start(steps)
            return True
        return evaluator.busy

    def _evaluate_at_last(self, evaluator: EvaluatorProcess | InlineEvaluator, received: Sequence[int]) -> None:
        """Waits for the evaluation at the last multiple of steps, unless somebody wants the run to be over now."""
        while not received and self._early_end() not in ("callback", "time"):
            if not self._evaluate(evaluator):
                return
            time.sleep(0.05)
        self._take_in(evaluator)

    def _take_in(self, evaluator: EvaluatorProcess | InlineEvaluator) -> None:
        """Takes in all that an evaluator has found."""
        while (found := evaluator.poll()) is not None:
            if isinstance(found, Failure):
                details = f"\n{found.traceback.rstrip()}" if found.traceback else ""
                self.notify(f"warning: no evaluation at step {self.evaluated_at:,}: it {found.reason}{details}")
                continue
            steps, finding = found
            if isinstance(finding, Evaluation):
                self._take_evaluation(steps, finding)
            elif finding.video is not None:
                self.reporters.video(steps, finding.video)
            else:
                self.notify(f"warning: no video of the evaluation at step {steps:,}: {finding.reason}")

    def _take_evaluation(self, steps: int, result: Evaluation) -> None:
        """Writes it down, and the agent as the best one if it is; the copy of it is still there."""
        self.evaluation = steps, result
        self.reporters.write(self.evaluations, partial(self.evaluations.write, {"steps": steps, **result.to_dict()}))
        tensors = {name: tensor.clone() for name, tensor in self.learned.agent_tensors(self.frozen).items()}
        self._save_best(Checkpoint(tensors, replace(self._state(steps), score=result.return_mean)))
        self.reporters.evaluation(steps, result)

    def _save_best(self, checkpoint: Checkpoint) -> None:
        saved = self.saver.save_best(checkpoint)
        self.unsaved_best = None if saved else checkpoint

    def _take_report(self, report: Report) -> None:
        episodes = self.telemetry.reported
        self.telemetry.add(report)
        self.states.heard(report)
        self.reporters.report(report, episodes, self.shared.counter.counts)

    def _write_line(self, workers: int) -> None:
        counts = self.shared.counter.counts
        self.last_line = self.telemetry.line(counts, learning_rate(self.experiment, counts.steps), workers)
        if self.evaluation is not None:
            steps, result = self.evaluation
            self.last_line |= {metrics.EVALUATION_RETURN_MEAN: result.return_mean, metrics.EVALUATION_STEPS: steps}
            self.evaluation = None
        self.reporters.metrics(self.last_line)

    def _save(self, workers: Workers, at_last: bool = False) -> bool:
        if self.unsaved_best is not None:
            self._save_best(self.unsaved_best)
        saved: dict[str, tuple[int, int]] = {}
        tensors, refreshed_at = self.learned.snapshot()
        if isinstance(workers, SerialWorkers):
            for number, (setup, snapshot) in workers.snapshots().items():
                saved[str(number)] = setup.session, setup.attempt
                tensors |= pack(f"workers/{number}", snapshot)
        state = self._state(self.shared.counter.steps, saved)
        state = replace(
            state, score=self.telemetry.return_mean, score_is_evaluated=False, target_refreshed_at=refreshed_at
        )
        memories = workers.memories if isinstance(workers, SerialWorkers) else {}
        if not self.saver.save(Checkpoint(tensors, state, memories)):
            return False
        if self.experiment.supervision.histograms:
            self.reporters.histograms(dict(self.learned.network.named_parameters()), state.steps, at_last)
        self.reporters.checkpoint(self.folder, state.steps)
        return True

    def _save_at_last(self, workers: Workers, wait: Callable[[], bool]) -> bool:
        """Saves the end of the run; tries again while `wait` says so."""
        while not self._save(workers, at_last=True):
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
            score_is_evaluated=self.experiment.supervision.eval_every is not None,
            workers=dict(workers or {}),
            environment_info=self.info,
        )

    def _outcome(self, status: str, ended_by: str, exit_code: int, error: str) -> Outcome:
        if self.reporters.error and not error:
            status, ended_by, exit_code, error = "failed", "failure", 1, self.reporters.error
        return Outcome(status, exit_code, self._summary(status, ended_by, error), error)

    def _summary(self, status: str, ended_by: str, error: str) -> dict[str, Any]:
        return {
            **self.last_line,
            **self.telemetry.shares(),
            "status": status,  # done, stopped or failed
            "ended_by": ended_by,  # steps, goal, time, callback, failure, or a signal's name
            **({"error": error} if error else {}),
            "environment": self.info.id,
            "algorithm": algorithm_name(self.experiment.algorithm),
            "preset": self.experiment.preset,
            "seed": self.experiment.seed,
            "workers": self.experiment.worker_count,
            "envs_per_worker": self.experiment.environment_count,
            metrics.BEST_RETURN_MEAN: self.telemetry.best_return_mean,
        }


def _pace(age: float) -> float:
    """Seconds between two lines of metrics at an age of the run: two until an hour has passed, ten after five."""
    return min(age / 20, max(2.0, age / 1800))
