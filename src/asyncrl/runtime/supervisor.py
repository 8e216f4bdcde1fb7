"""The supervisor: runs an experiment from its start to its end, and writes metrics and checkpoints meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Literal

from asyncrl import metrics
from asyncrl.callbacks import Callback
from asyncrl.config import Experiment
from asyncrl.errors import RunError, UserError
from asyncrl.reporting.sink import Sink
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import Checkpoint
from asyncrl.runtime.checkpoint_builder import CheckpointBuilder
from asyncrl.runtime.disk_watch import RETRY_SECONDS, DiskWatch, Notify, reason_of
from asyncrl.runtime.evaluator import RecordVideo, make_evaluator
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.goal import Goal
from asyncrl.runtime.listeners import Listeners
from asyncrl.runtime.outcome import Ending, Outcome, make_outcome
from asyncrl.runtime.room import check_room
from asyncrl.runtime.saver import Saver
from asyncrl.runtime.shared_model import ParameterSnapshot, SharedModel, is_evaluated
from asyncrl.runtime.store import SharedState, learning_rate
from asyncrl.runtime.telemetry import Metrics, Telemetry
from asyncrl.runtime.training_evaluations import TrainingEvaluations
from asyncrl.runtime.worker_pool import WorkerPool
from asyncrl.runtime.worker_states import WorkerStates
from asyncrl.runtime.workers import MakeWorkers
from asyncrl.signals import collected_signals, name_of
from asyncrl.types import EnvironmentInfo, Evaluation, Report

METRICS_SECONDS = (0.2, 10.0)
"""Time between two lines of metrics: at the start of a run, so that short runs have a curve too, and after hours."""

EarlyEnd = Literal["", "goal", "time", "callback"]
"""What ended a run before its steps were done, if anything did."""


class Supervisor:
    """Runs one experiment.

    Args:
        experiment: Settings of the run.
        info: The environment.
        folder: Folder of the run.
        checkpoint: Checkpoint to go on from; None for a new run.
        notify: Takes messages for people.
        record_video: Records the videos of evaluations; None for a run without videos.
        make_workers: Makes workers that run elsewhere; None for those of this machine.

    Raises:
        UserError: The checkpoint does not fit the experiment, or there is no room for replay memories.
    """

    def __init__(
        self,
        experiment: Experiment,
        info: EnvironmentInfo,
        folder: RunFolder,
        checkpoint: Checkpoint | None = None,
        notify: Notify = print,
        record_video: RecordVideo | None = None,
        make_workers: MakeWorkers | None = None,
    ) -> None:
        self.experiment, self.info, self.folder, self.notify = experiment, info, folder, notify
        context, settings = process_context(), experiment.supervision
        if make_workers is None:
            check_room(experiment, info, folder)
        self.model = SharedModel(experiment, info, context)
        self.checkpoint, state = checkpoint, None if checkpoint is None else checkpoint.state
        if checkpoint is not None:
            self.model.restore(checkpoint)
        steps, self.session = self.shared.counter.steps, 1 if state is None else state.sessions + 1
        self.telemetry = Telemetry(info.frames_per_step, steps, None if state is None else state.telemetry)
        self.disk = DiskWatch(notify)
        self.listeners = Listeners(self.disk, notify)
        self.saver = Saver(folder.checkpoints, settings, self.disk, steps)
        self.pool = WorkerPool(experiment, info, self.shared, folder, self.session, context, notify, make_workers)
        self.states = WorkerStates(folder.workers_file, self.pool.workers, self.pool.restarts, self.shared.counter)
        explores = getattr(experiment.algorithm, "explores", False)
        self.goal = Goal(experiment.until_return, explores, 0 if state is None else state.goal_wait_until)
        self.evaluations: TrainingEvaluations | None = None
        if is_evaluated(experiment):
            evaluator = make_evaluator(experiment, self.model, record_video, context)
            file = folder.evaluations_file
            self.evaluations = TrainingEvaluations(
                settings, self.goal, self.shared, evaluator, self.listeners, file, self._save_best
            )
        self.checkpoints = CheckpointBuilder(experiment, self.session, self.model, self.telemetry, self.goal, self.pool)
        self.last_line: Metrics = {}

    @property
    def shared(self) -> SharedState:
        """The memory that workers share."""
        return self.model.shared

    @property
    def reason_to_end(self) -> str:
        """Why a resumed run has nothing left to do; empty if it has."""
        if self.shared.counter.reached(self.experiment.steps):
            return f"its {self.experiment.steps:,} steps are done"
        if self.checkpoint is not None and self.goal.is_met_by(self.checkpoint.state.goal_reached):
            return f"its goal, a mean return of {self.goal.mean_return:g}, is reached"
        if self._early_end() == "time":
            return f"its {self.experiment.until_seconds:g} seconds are over"
        return ""

    def _early_end(self) -> EarlyEnd:
        if self.listeners.stopped:
            return "callback"
        if self.goal.reached:
            return "goal"
        limit = self.experiment.until_seconds
        return "time" if limit is not None and self.telemetry.wall_seconds >= limit else ""

    def run(self, sinks: Sequence[Sink], callbacks: Sequence[Callback] = ()) -> Outcome:
        """Trains until the steps are done, the goal is reached, a signal comes or no worker can go on."""
        warning = self.saver.read_best_score()
        if warning:
            self.notify(f"warning: {warning}; a new best one takes its place")
        self.listeners.attach([*sinks, self.states], callbacks)
        with ExitStack() as stack:
            received = stack.enter_context(collected_signals())
            stack.enter_context(self.pool.working(self.checkpoint))
            if self.evaluations is not None:
                stack.enter_context(self.evaluations.running())
            ending = Ending()
            try:
                self.listeners.start(self.experiment, self.folder, self.session, self.shared.counter.steps)
                self._watch(received)
                self.listeners.check()
                ending = Ending(ended_by=self._early_end() or "steps")
            except (RunError, UserError) as failure:
                ending = Ending("failed", "failure", 2 if isinstance(failure, UserError) else 1, str(failure))
            except Exception:  # a bug of our own must not cost what was learned
                self._save()
                raise
            for report in self.pool.stop():
                self._take_report(report)
            if self.evaluations is not None and ending.status == "done":
                self.evaluations.finish(lambda: bool(received) or self._early_end() != "")
                ending = replace(ending, ended_by="goal") if self.goal.reached else ending
                self.evaluations.evaluate_final(lambda: bool(received))
            if received:
                ending = Ending("stopped", name_of(received[0]), 128 + received[0], ending.error)
            return self._end(ending, wait=lambda: ending.status == "done" and not received)

    def _end(self, ending: Ending, wait: Callable[[], bool]) -> Outcome:
        """Saves the end of the run, and tells everybody.

        Args:
            ending: Why it ended.
            wait: Whether to wait for room on a full disk.
        """
        self.states.end()
        if self.evaluations is not None and self.goal.reached:
            self.evaluations.give_back()
        self._write_line()
        if not self._save_at_last(wait):
            lost = f"the end of the run could not be saved ({reason_of(self.saver.error)})"
            ending = replace(ending, status="failed", exit_code=1, error=f"{ending.error}\n{lost}".strip())
        outcome = self._outcome(ending)
        self._write_summary(outcome)
        self.listeners.end(self.folder, outcome.summary)
        if self._outcome(ending) != outcome:  # a callback failed at the end
            outcome = self._outcome(ending)
            self._write_summary(outcome)
        self.listeners.summary(outcome.summary)
        return outcome

    def _outcome(self, ending: Ending) -> Outcome:
        if self.listeners.error and not ending.error:
            ending = Ending("failed", "failure", 1, self.listeners.error)
        evaluated = None if self.evaluations is None else self.evaluations.of_final_agent
        return make_outcome(ending, self.experiment, self.info.id, self.last_line, self.telemetry, evaluated)

    def _write_summary(self, outcome: Outcome) -> None:
        try:
            self.folder.write_summary(outcome.summary)
        except OSError as problem:
            self.notify(f"warning: the summary cannot be written ({reason_of(problem)})")

    def _watch(self, received: Sequence[int]) -> None:
        """Takes reports, restarts workers, and writes metrics and checkpoints when they are due, until the end."""
        shortest, longest = METRICS_SECONDS
        started = written_at = time.monotonic()
        is_done = partial(self.shared.counter.reached, self.experiment.steps)
        while (self.pool.running or (self.pool.restarts.due and not is_done())) and not received:
            for message in self.pool.poll(0.05):
                if isinstance(message, Report):
                    self._take_report(message)
                elif not received:
                    self.pool.failed(message)
            self.telemetry.restarts += self.pool.restart_due()
            if self.evaluations is not None and not self._early_end():
                self.evaluations.update(self.telemetry.return_mean)
            if self._early_end():
                return
            now = time.monotonic()
            if now - written_at >= min(longest, max(shortest, _metrics_interval(now - started))):
                written_at = now
                self._write_line()
            if self.saver.is_due(self.shared.counter.steps):
                self._save()
        if not received and not is_done():
            failure = self.pool.restarts.last_failure
            reason = f": worker {failure.worker} {failure.reason}\n{failure.traceback}".rstrip() if failure else ""
            raise RunError(f"no worker is left{reason}")

    def _take_report(self, report: Report) -> None:
        episodes = self.telemetry.reported
        self.telemetry.add(report)
        self.states.heard(report)
        self.listeners.report(report, episodes, self.shared.counter.counts)

    def _write_line(self) -> None:
        counts, evaluation = self.shared.counter.counts, self.evaluations and self.evaluations.pop_unreported()
        self.last_line = self.telemetry.line(counts, learning_rate(self.experiment, counts.steps), self.pool.running)
        self.last_line |= evaluation or {}
        if self.shared.visits is not None:
            self.last_line[metrics.STATES_SEEN] = self.shared.visits.visited
        self.listeners.metrics(self.last_line)

    def _save(self, at_last: bool = False) -> bool:
        checkpoint = self.checkpoints.of_run()
        if not self.saver.save(checkpoint):
            return False
        if self.experiment.supervision.histograms:
            parameters = dict(self.model.network.named_parameters())
            self.listeners.histograms(parameters, checkpoint.state.steps, at_last)
        self.listeners.checkpoint(self.folder, checkpoint.state.steps)
        return True

    def _save_at_last(self, wait: Callable[[], bool]) -> bool:
        """Saves the end of the run; while the disk is full, tries again as long as `wait` says so."""
        while not self._save(at_last=True):
            if not wait():
                return False
            self.notify("the run has come to its end and waits for room to be saved; Ctrl-C gives it up")
            until = time.monotonic() + RETRY_SECONDS
            while wait() and time.monotonic() < until:
                time.sleep(0.1)
        return True

    def _save_best(self, snapshot: ParameterSnapshot, steps: int, evaluation: Evaluation) -> None:
        """Saves the snapshot as the best agent if it is, or if it has reached the goal."""
        checkpoint = self.checkpoints.of_evaluated(snapshot, steps, evaluation)
        self.saver.save_best(checkpoint, is_final=self.goal.reached)


def _metrics_interval(age: float) -> float:
    """Seconds between two lines of metrics at an age of the run: two until an hour has passed, ten after five."""
    return min(age / 20, max(2.0, age / 1800))
