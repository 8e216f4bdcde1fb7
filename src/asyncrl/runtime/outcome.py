"""How a run ended: its status, exit code, and what summary.json says."""

from __future__ import annotations

from dataclasses import dataclass

from asyncrl import metrics
from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment
from asyncrl.runtime.telemetry import Metrics, Telemetry
from asyncrl.types import Evaluation


@dataclass(frozen=True)
class Ending:
    """Why a run ended."""

    status: str = "done"  # done, stopped or failed
    ended_by: str = "steps"  # steps, goal, time, callback, failure, or a signal's name
    exit_code: int = 0
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str  # done, stopped or failed
    exit_code: int
    summary: Metrics
    error: str = ""


def make_outcome(
    ending: Ending,
    experiment: Experiment,
    environment: str,
    line: Metrics,
    telemetry: Telemetry,
    evaluated: tuple[int, Evaluation] | None,
) -> Outcome:
    """Puts together the outcome of a run and its summary.

    Args:
        ending: Why it ended.
        experiment: Its settings.
        environment: Full id of its environment.
        line: Its last line of metrics.
        telemetry: Its statistics.
        evaluated: The global step of the agent that it ends with, and the agent's evaluation, if there is one.
    """
    summary = {
        **line,
        **telemetry.shares(),
        "status": ending.status,
        "ended_by": ending.ended_by,
        **({"error": ending.error} if ending.error else {}),
        "environment": environment,
        "algorithm": algorithm_name(experiment.algorithm),
        "preset": experiment.preset,
        "seed": experiment.seed,
        "workers": experiment.worker_count,
        "envs_per_worker": experiment.environment_count,
        metrics.BEST_RETURN_MEAN: telemetry.best_return_mean,
    }
    if evaluated is not None:
        steps, evaluation = evaluated
        summary[metrics.EVALUATION_RETURN_MEAN] = evaluation.return_mean
        summary[metrics.EVALUATION_STEPS] = steps
        summary["evaluation_episodes"] = evaluation.episodes
    return Outcome(ending.status, ending.exit_code, summary, ending.error)
