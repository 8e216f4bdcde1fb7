"""Evaluations of a run: periodic ones for `--eval-every`, those that check the goal, and that of the final agent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from asyncrl import metrics
from asyncrl.reporting.json_lines import JsonLines
from asyncrl.runtime.evaluator import Evaluator, EvaluatorProcess, Request
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.goal import Goal
from asyncrl.runtime.listeners import Listeners
from asyncrl.runtime.shared_model import ParameterSnapshot
from asyncrl.runtime.store import SharedState
from asyncrl.settings import SupervisionSettings
from asyncrl.types import Evaluation

SaveBest = Callable[[ParameterSnapshot, int, Evaluation], None]
"""Takes the snapshot, the global step at which it was made, and its evaluation."""


class TrainingEvaluations:
    """Copies the agent when an evaluation is due, has the copy evaluated while the workers train on, and reports it.

    Args:
        settings: How often to evaluate, and how many episodes to play.
        goal: Says when it needs an evaluation.
        shared: Memory that the workers share, where the agent is copied from.
        evaluator: Evaluates the copy, which is in its setup.
        listeners: Are told of evaluations and videos.
        file: Path of evaluations.jsonl. It gets a line for each evaluation; `for_goal` says why it was made.
        save_best: Saves an evaluated agent as the best one, if it is.
    """

    def __init__(
        self,
        settings: SupervisionSettings,
        goal: Goal,
        shared: SharedState,
        evaluator: Evaluator,
        listeners: Listeners,
        file: Path,
        save_best: SaveBest,
    ) -> None:
        self.settings, self.goal, self.shared, self.evaluator = settings, goal, shared, evaluator
        self.listeners, self.file, self.save_best = listeners, JsonLines(file), save_best
        self.copied_at = self.periodic_at = shared.counter.steps  # global steps of the last copy, and periodic copy
        self.for_goal = False  # why the last copy was made
        self.goal_is_near = False  # a periodic evaluation has reached the goal, or a short one
        self.unreported: tuple[int, Evaluation] | None = None  # not in a line of metrics yet
        self.latest: tuple[int, Evaluation] | None = None  # with the global step of the agent

    @contextmanager
    def running(self) -> Iterator[None]:
        """Makes sure that no process and no open file is left."""
        if self.goal.mean_return is not None and isinstance(self.evaluator, EvaluatorProcess):
            self.evaluator.prepare()  # the end of the run should not wait for it
        try:
            yield
        finally:
            self.evaluator.kill()
            self.file.close()

    def update(self, training_mean: float | None) -> None:
        """Takes results, and starts the evaluation that is due.

        Args:
            training_mean: Mean return of the last 100 training episodes; None before there are so many.
        """
        self._take_results()
        while not self.evaluator.busy and self._start_due(training_mean):
            self._take_results()  # an inline evaluator has them already

    def finish(self, is_over: Callable[[], bool]) -> None:
        """Waits for the last evaluations, unless `is_over` says that the run must not wait."""
        while not is_over():
            self.update(None)
            if not self.evaluator.busy:
                return
            time.sleep(0.05)
        self._take_results()

    def evaluate_final(self, is_over: Callable[[], bool]) -> None:
        """Evaluates the agent as it is when training is over, for `--final-episodes`, and waits for the result.

        Args:
            is_over: Says that the run must not wait.
        """
        if not self.settings.final_episodes:
            return
        self._wait(is_over)
        if self.goal.reached or is_over():
            return
        self.for_goal = False
        self.listeners.notify(f"training is over; evaluating the agent over {self.settings.final_episodes:,} episodes")
        self._start(Request(self.settings.final_episodes))
        self._wait(is_over)

    def _wait(self, is_over: Callable[[], bool]) -> None:
        """Takes results until the evaluator has no more, or `is_over` says that the run must not wait."""
        self._take_results()
        while self.evaluator.busy and not is_over():
            time.sleep(0.05)
            self._take_results()

    @property
    def of_final_agent(self) -> tuple[int, Evaluation] | None:
        """The evaluation of the agent that the run ends with, if there is one, after the agent's global step."""
        if self.latest is None or (self.latest[0] != self.shared.counter.steps and not self.goal.reached):
            return None
        return self.latest

    def give_back(self) -> None:
        """Makes the copy that reached the goal the agent of the run, if the workers have trained on meanwhile."""
        if self.copied_at != self.shared.counter.steps:
            self.evaluator.setup.snapshot.give_back(self.shared)

    def pop_unreported(self) -> dict[str, float]:
        """Returns the latest evaluation for a line of metrics, if no line has had it."""
        if self.unreported is None:
            return {}
        (steps, evaluation), self.unreported = self.unreported, None
        return {metrics.EVALUATION_RETURN_MEAN: evaluation.return_mean, metrics.EVALUATION_STEPS: steps}

    def _start_due(self, training_mean: float | None) -> bool:
        """Starts an evaluation if one is due, and says whether it did."""
        every, steps = self.settings.eval_every, self.shared.counter.steps
        needed = self.settings.goal_episodes
        if self.goal.reached:
            return False
        if self.goal_is_near or self.goal.is_due(training_mean, steps):
            request = Request(needed if self.goal_is_near else self.goal.episodes(training_mean, needed))
            self.for_goal, self.goal_is_near = True, False
        elif every is not None and steps // every != self.periodic_at // every:
            self.for_goal, self.periodic_at = False, steps
            request = Request(self.settings.eval_episodes, self.settings.eval_video)
        else:
            return False
        self._start(request)
        return True

    def _start(self, request: Request) -> None:
        self.copied_at = self.shared.counter.steps
        self.evaluator.setup.snapshot.take(self.shared)
        self.evaluator.start(request)

    def _take_results(self) -> None:
        while (result := self.evaluator.poll()) is not None:
            steps, notify = self.copied_at, self.listeners.notify
            if isinstance(result, Evaluation):
                self._take_evaluation(steps, result)
            elif isinstance(result, Failure):
                details = f"\n{result.traceback.rstrip()}" if result.traceback else ""
                notify(f"warning: no evaluation at step {steps:,}: it {result.reason}{details}")
                if self.for_goal:
                    self.goal.postpone(steps)
            elif result.video is not None:
                self.listeners.video(steps, result.video)
            else:
                notify(f"warning: no video of the evaluation at step {steps:,}: {result.reason}")

    def _take_evaluation(self, steps: int, evaluation: Evaluation) -> None:
        self.unreported = self.latest = steps, evaluation
        line = {"steps": steps, "for_goal": self.for_goal, **evaluation.to_dict()}
        self.listeners.write(self.file, partial(self.file.write, line))
        is_met = self.goal.is_met_by(evaluation.return_mean)
        decides = self.for_goal and evaluation.episodes >= self.settings.goal_episodes
        if decides or (self.for_goal and not is_met):
            self.goal.check(steps, evaluation)
        elif is_met and self.goal.is_due(evaluation.return_mean, steps):
            self.goal_is_near = True
        if self.goal.reached or (self.settings.eval_every is not None and not self.for_goal):
            self.save_best(self.evaluator.setup.snapshot, steps, evaluation)
        self.listeners.evaluation(steps, evaluation, self.for_goal)
