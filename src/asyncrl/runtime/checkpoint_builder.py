"""Puts together what a run's checkpoints hold: what was learned, counts, telemetry, serial workers and the goal."""

from __future__ import annotations

from dataclasses import replace

from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment
from asyncrl.runtime.checkpoint import Checkpoint, CheckpointState
from asyncrl.runtime.goal import Goal
from asyncrl.runtime.shared_model import ParameterSnapshot, SharedModel
from asyncrl.runtime.telemetry import Telemetry
from asyncrl.runtime.worker_pool import WorkerPool
from asyncrl.types import Evaluation


class CheckpointBuilder:
    """Builds the checkpoints of one session.

    Args:
        experiment: Settings of the run.
        session: Number of the session, counted from 1.
        model: Parameters and statistics that the workers share.
        telemetry: Statistics of training episodes.
        goal: The run's goal.
        pool: The run's workers.
    """

    def __init__(
        self,
        experiment: Experiment,
        session: int,
        model: SharedModel,
        telemetry: Telemetry,
        goal: Goal,
        pool: WorkerPool,
    ) -> None:
        self.experiment, self.session, self.model = experiment, session, model
        self.telemetry, self.goal, self.pool = telemetry, goal, pool

    def of_run(self) -> Checkpoint:
        """The whole run as it is now. Its score is the mean training return, or the evaluation that met the goal."""
        workers, tensors = self.pool.snapshots()
        met = self.goal.evaluation
        score = self.telemetry.return_mean if met is None else met.return_mean
        learned, refreshed_at = self.model.checkpoint_tensors()
        state = self._state(self.model.shared.counter.steps, score, met is not None)
        state = replace(state, workers=workers, target_refreshed_at=refreshed_at)
        return Checkpoint(learned | tensors, state, self.pool.memories)

    def of_evaluated(self, snapshot: ParameterSnapshot, steps: int, evaluation: Evaluation) -> Checkpoint:
        """The snapshot of the agent at a global step, which has been evaluated."""
        tensors = {name: tensor.clone() for name, tensor in self.model.agent_tensors(snapshot).items()}
        tensors |= self.model.return_tensors()  # they hardly change within one evaluation
        return Checkpoint(tensors, self._state(steps, evaluation.return_mean, True))

    def _state(self, steps: int, score: float | None, score_is_evaluated: bool) -> CheckpointState:
        counter, met = self.model.shared.counter, self.goal.evaluation
        return CheckpointState(
            environment=self.model.info.id,
            algorithm=algorithm_name(self.experiment.algorithm),
            optimizer=self.experiment.optimizer.optimizer,
            steps=steps,
            updates=counter.counts.updates,
            sessions=self.session,
            telemetry=self.telemetry.state(counter.counts.episodes),
            score=score,
            score_is_evaluated=score_is_evaluated,
            goal_wait_until=self.goal.wait_until,
            goal_reached=None if met is None else met.return_mean,
            environment_info=self.model.info,
        )
