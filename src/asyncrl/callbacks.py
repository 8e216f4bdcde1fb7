"""`Callback`: your own code, called at the events of a run; and the events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncrl.config import Experiment
from asyncrl.types import Evaluation


@dataclass(frozen=True, slots=True)
class Started:
    """A run begins, or a resumed run goes on."""

    run_dir: Path
    experiment: Experiment
    session: int  # 1, or more if the run is resumed
    steps: int  # agent decisions of earlier sessions


@dataclass(frozen=True, slots=True)
class Updated:
    """Updates that one worker reported together: those of a tenth of a second, or of one turn of a serial worker."""

    worker: int
    count: int  # of these updates
    statistics: Mapping[str, float]  # of the loss, such as `entropy`: means over these updates
    updates: int  # so far, over all workers and sessions
    steps: int  # so far, over all workers and sessions


@dataclass(frozen=True, slots=True)
class EpisodeEnded:
    """One training episode."""

    number: int  # counted over all workers and sessions, in the order in which they were reported
    total_reward: float  # undiscounted, unclipped
    length: int  # in steps
    worker: int
    environment: int  # its index among the worker's


@dataclass(frozen=True, slots=True)
class MetricsWritten:
    """A line of metrics was written."""

    steps: int
    updates: int
    episodes: int
    wall_seconds: float
    return_mean: float | None  # of the last 100 training episodes; None before the first
    line: Mapping[str, Any]  # the whole line of metrics.jsonl


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A copy of the agent was evaluated."""

    steps: int  # global step at which it was copied
    evaluation: Evaluation
    for_goal: bool  # it checked whether the goal is reached; otherwise it is a periodic evaluation or the final one


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint was written: `asyncrl.load(run_dir)` loads its agent."""

    steps: int
    run_dir: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over. Its last checkpoint and summary.json are written; learning_curve.png is drawn later."""

    status: str  # done, stopped or failed
    ended_by: str  # steps, goal, time, callback, failure, or a signal's name
    run_dir: Path
    summary: Mapping[str, Any]  # what summary.json holds, unless an `on_end` fails


class Callback:
    """Base class of your own callbacks: override the methods that you need.

    A method that returns True ends the run, with everything saved. The methods are called in the process that
    supervises the workers, which keep training meanwhile. An exception in one of them ends the run as a failure, with a
    checkpoint.
    """

    def on_start(self, start: Started) -> bool | None:
        """Called when the workers have been started."""

    def on_updates(self, updates: Updated) -> bool | None:
        """Called when a worker reports its latest updates."""

    def on_episode(self, episode: EpisodeEnded) -> bool | None:
        """Called when a training episode has ended."""

    def on_metrics(self, metrics: MetricsWritten) -> bool | None:
        """Called with each line of metrics: five a second at first, one in ten seconds in long runs, one at the end."""

    def on_evaluation(self, evaluated: Evaluated) -> bool | None:
        """Called when an evaluation has ended: with `eval_every`, and when it is checked whether a goal is reached."""

    def on_checkpoint(self, checkpoint: CheckpointSaved) -> bool | None:
        """Called when a checkpoint has been written."""

    def on_end(self, end: Ended) -> None:
        """Called when the run has ended for any reason; its last checkpoint and summary.json are written."""
