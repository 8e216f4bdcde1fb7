"""`Callback`: your own code at what happens in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncrl.config import Experiment
    from asyncrl.runtime.evaluator import Evaluation


@dataclass(frozen=True, slots=True)
class Started:
    """A run begins, or goes on."""

    run_dir: Path
    experiment: Experiment
    session: int  # 1, or more if the run is resumed
    steps: int  # that earlier sessions did


@dataclass(frozen=True, slots=True)
class Updated:
    """Updates that one worker told of together: of a tenth of a second, or of one rollout of a serial worker."""

    worker: int
    count: int  # of these updates
    statistics: Mapping[str, float]  # of the loss, such as `entropy`: means over these updates
    updates: int  # of all workers and sessions, at this moment
    steps: int  # the same


@dataclass(frozen=True, slots=True)
class EpisodeEnded:
    """One training episode."""

    number: int  # counted over all workers and sessions, in the order in which they were told of
    total_reward: float  # undiscounted, unclipped
    length: int  # in steps
    worker: int
    environment: int  # its index among the worker's


@dataclass(frozen=True, slots=True)
class MetricsWritten:
    """A line of metrics."""

    steps: int
    updates: int
    episodes: int
    wall_seconds: float
    return_mean: float | None  # of the last 100 training episodes; None before the first
    line: Mapping[str, Any]  # all that metrics.jsonl gets


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation of the agent as it was some time ago."""

    steps: int  # at which it was as evaluated
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint on disk: `asyncrl.load(run_dir)` gives the agent of it."""

    steps: int
    run_dir: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over, its last checkpoint and summary.json are written; its picture comes later."""

    status: str  # done, stopped or failed
    ended_by: str  # steps, goal, time, callback, failure, or a signal's name
    run_dir: Path
    summary: Mapping[str, Any]  # what summary.json holds, unless an `on_end` fails


class Callback:
    """Your own code: inherit, and write those methods that you need. Each that returns True ends the run in order.

    They are called in the process that supervises the workers, which train on meanwhile. An exception in one of them
    ends the run as a failure, with a checkpoint.
    """

    def on_start(self, start: Started) -> bool | None:
        """The workers have been started."""

    def on_updates(self, updates: Updated) -> bool | None:
        """A worker tells of its latest updates."""

    def on_episode(self, episode: EpisodeEnded) -> bool | None:
        """A training episode has ended."""

    def on_metrics(self, metrics: MetricsWritten) -> bool | None:
        """A line of metrics is written: five a second at first, one every ten seconds in long runs, one at the end."""

    def on_evaluation(self, evaluated: Evaluated) -> bool | None:
        """An evaluation has ended; only with `eval_every`."""

    def on_checkpoint(self, checkpoint: CheckpointSaved) -> bool | None:
        """A checkpoint has been written."""

    def on_end(self, end: Ended) -> None:
        """The run has ended, however it did; its last checkpoint and summary.json are written."""
