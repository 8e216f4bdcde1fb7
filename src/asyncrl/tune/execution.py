"""Makes the trials of a tuning, one after another, so that all have the whole machine for the same time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from asyncrl import metrics
from asyncrl.errors import RunError
from asyncrl.run_folder import RunFolder
from asyncrl.signals import collected_signals
from asyncrl.sweep.planned_run import PlannedRun
from asyncrl.tune.specification import Tuning
from asyncrl.tune.study import ERROR, NAME, STEPS, Study

if TYPE_CHECKING:
    from optuna.trial import Trial

MEASURING = "measuring"
"""Name of the short run that measures how fast a trial's settings train."""
ENDLESS = 10**9
"""Steps and seconds of that run, which is ended when enough is measured."""
TENTHS = 10
"""The learning curve of a trial is compared with those of others after each tenth of its time."""


@dataclass(frozen=True)
class Ended:
    """A trial that has ended."""

    name: str
    values: dict[str, Any]
    steps: int = 0  # length of its schedules
    completed: float = 1.0  # the smallest share of the schedules that a run completed in its time
    score: float | None = None  # mean return in evaluation; None if it was given up or failed
    given_up: float | None = None  # the share of its time after which it was given up
    error: str = ""  # one line; empty if the trial succeeded


class _StoppedError(Exception):
    """A signal stopped the tuning."""


def run_tuning(folder: Path, tuning: Tuning, study: Study, trials: int, report: Callable[[Ended], None]) -> bool:
    """Makes trials until so many have ended.

    Args:
        folder: Folder of the tuning.
        tuning: Its description.
        study: Its trials so far.
        trials: Number of trials, with those that have ended before.
        report: Called with each trial that ends.

    Returns:
        Whether all trials ended; false if Ctrl-C or SIGTERM stopped the tuning.

    Raises:
        RunError: A trial failed, and none has succeeded so far.
    """
    with collected_signals() as received:
        while len(study.ended) < trials:
            try:
                ended = _Attempt(folder, tuning, study.ask(), received).make()
            except _StoppedError:
                return False
            if ended.error and not study.scored:
                raise RunError(f"the first trial failed, so no other one is tried: {ended.error}")
            report(ended)
        return True


class _Attempt:
    """One trial, from its settings to its score."""

    def __init__(self, folder: Path, tuning: Tuning, trial: Trial, received: Sequence[int]) -> None:
        self.folder, self.tuning, self.trial, self.received = folder, tuning, trial, received
        self.name = str(trial.user_attrs[NAME])

    def make(self) -> Ended:
        """Measures the speed, trains and evaluates, and tells the study the result."""
        from optuna.trial import TrialState

        study, trial = self.trial.study, self.trial
        try:
            steps = trial.user_attrs.get(STEPS) or self._measured_steps()
            trial.set_user_attr(STEPS, steps)
            scores, completed = [], 1.0
            for number, seed in enumerate(self.tuning.seeds):
                planned = self.tuning.plan(self.folder, f"{self.name},seed={seed}", trial.params, steps, seed)
                curve = _Curve(planned.run, self.tuning.seconds, trial)
                self._run(planned, curve.is_hopeless if number == 0 else lambda: False)
                if curve.given_up_at:
                    study.tell(trial, state=TrialState.PRUNED)
                    return Ended(self.name, trial.params, steps, given_up=curve.given_up_at / TENTHS)
                scores.append((planned.run.read_evaluation() or {})[metrics.RETURN_MEAN])
                completed = min(completed, (planned.run.read_summary() or {})[metrics.STEPS] / steps)
        except RunError as error:
            trial.set_user_attr(ERROR, str(error))
            study.tell(trial, state=TrialState.FAIL)
            return Ended(self.name, trial.params, error=str(error))
        study.tell(trial, mean(scores))
        return Ended(self.name, trial.params, steps, completed, mean(scores))

    def _measured_steps(self) -> int:
        """How many steps these settings train in the time of a run, as a short run shows.

        The schedules of the trial are that long, so that its learning rate comes down to zero when its time is over.
        """
        enough = max(1.0, self.tuning.seconds / TENTHS)
        endless = replace(self.tuning, seconds=float(ENDLESS))
        planned = endless.plan(self.folder, MEASURING, self.trial.params, ENDLESS, self.tuning.seeds[0])
        shutil.rmtree(planned.run.path, ignore_errors=True)

        def begun() -> list[dict[str, Any]]:
            return [line for line in _lines(planned.run) if line[metrics.STEPS] > 0]

        def is_enough() -> bool:
            lines = begun()
            return bool(lines) and lines[-1][metrics.WALL_SECONDS] - lines[0][metrics.WALL_SECONDS] >= enough

        try:
            self._run(planned, is_enough, only_train=True)
            first, *_, last = begun()
        finally:
            shutil.rmtree(planned.run.path, ignore_errors=True)
        left = self.tuning.seconds - first[metrics.WALL_SECONDS]
        if left <= 0:
            raise RunError(
                f"the first steps came after {first[metrics.WALL_SECONDS]:.0f} s, but a trial has "
                f"{self.tuning.seconds:g} s: give more --seconds-per-trial"
            )
        seconds = last[metrics.WALL_SECONDS] - first[metrics.WALL_SECONDS]
        speed = (last[metrics.STEPS] - first[metrics.STEPS]) / seconds
        steps: float = first[metrics.STEPS] + speed * left
        return max(1, round(steps))

    def _run(self, planned: PlannedRun, ends: Callable[[], bool], only_train: bool = False) -> None:
        """Makes a run, unless `ends` becomes true before.

        Raises:
            RunError: A process of it failed.
            _StoppedError: A signal came. The run has saved a checkpoint.
        """
        for command in list(planned.commands())[: 1 if only_train else None]:
            process, ended = planned.start(command), False
            try:
                while process.poll() is None:
                    if not ended and (self.received or ends()):
                        process.terminate()  # once: a second signal would end it without a checkpoint
                        ended = True
                    time.sleep(0.1)
            finally:
                process.kill()
            if self.received:
                raise _StoppedError
            if ended:
                return
            if error := planned.error(process):
                raise RunError(error)


class _Curve:
    """The learning curve of a trial, as the study hears of it."""

    def __init__(self, run: RunFolder, seconds: float, trial: Trial) -> None:
        self.run, self.seconds, self.trial = run, seconds, trial
        self.told = 0  # tenths of the time
        self.given_up_at = 0

    def is_hopeless(self) -> bool:
        """Tells the study how far the curve has come, and hears whether other trials were better at that time."""
        for line in _lines(self.run):
            tenth = int(TENTHS * line[metrics.WALL_SECONDS] / self.seconds)
            if self.told < tenth < TENTHS and line[metrics.RETURN_MEAN] is not None:
                self.told = tenth
                self.trial.report(line[metrics.RETURN_MEAN], tenth)
                if self.trial.should_prune():
                    self.given_up_at = tenth
                    return True
        return False


def _lines(run: RunFolder) -> list[dict[str, Any]]:
    return run.read_metrics() if run.metrics_file.exists() else []
