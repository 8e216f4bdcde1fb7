"""Evaluators of a snapshot of the agent, used while its training goes on: one in a process, one inline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.config import Experiment
from asyncrl.networks.assemble import flatten_parameters
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.child_process import ChildProcess, end_with_parent
from asyncrl.runtime.evaluation import evaluate
from asyncrl.runtime.failure import Failure, failure_of
from asyncrl.runtime.global_random import GlobalRandom
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.shared_model import ParameterSnapshot, SharedModel
from asyncrl.signals import ignore_stop_signals
from asyncrl.types import EnvironmentInfo, Evaluation, Video

EVALUATOR = -1
"""Number of the evaluator in a `Failure`, where a worker has its own."""

RecordVideo = Callable[[Agent, int, NDArray[np.int64]], Video]
"""Records one episode of an agent: takes the agent, a seed and a heartbeat. A module-level function."""


@dataclass(frozen=True)
class Request:
    """What to do with the snapshot."""

    episodes: int
    video: bool = False  # record one more episode after the evaluation


@dataclass(frozen=True)
class VideoResult:
    """The video of an episode that was played after an evaluation, or why there is none."""

    video: Video | None
    reason: str = ""


Result = Evaluation | VideoResult
"""A video has a result of its own, because drawing it may kill the process, which must not cost the evaluation."""


@dataclass(frozen=True)
class EvaluatorSetup:
    """What an evaluator is started with."""

    experiment: Experiment
    info: EnvironmentInfo
    snapshot: ParameterSnapshot
    record_video: RecordVideo | None = None


class Evaluator(Protocol):
    """Evaluates the snapshot."""

    @property
    def setup(self) -> EvaluatorSetup:
        """What it was started with."""
        ...

    @property
    def busy(self) -> bool:
        """Whether the snapshot is in use, or results wait to be polled."""
        ...

    def start(self, request: Request) -> None:
        """Begins to evaluate the snapshot; only while it is not busy."""
        ...

    def poll(self) -> Result | Failure | None:
        """Returns the next result, or why there will be none; None if nothing is there yet."""
        ...

    def kill(self) -> None:
        """Ends the evaluation."""
        ...


class EvaluatorProcess:
    """Evaluates the snapshot in a process of its own, which is started at the first evaluation.

    Args:
        setup: Agent, environment and snapshot.
        context: Start method of the process.
    """

    def __init__(self, setup: EvaluatorSetup, context: BaseContext) -> None:
        self.setup, self.context = setup, context
        self.child: ChildProcess | None = None
        self.failure: Failure | None = None  # why the process could not be started
        self.request: Request | None = None  # that the process works on
        self.is_evaluated = False  # only the video is missing
        self.polled_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether the snapshot is in use."""
        return self.request is not None

    def prepare(self) -> None:
        """Starts the process, so that the first evaluation need not wait for its start."""
        try:
            if self.child is None:
                pulse = self.setup.snapshot.pulse
                self.child = ChildProcess(self.context, run_evaluator, (self.setup,), "asyncrl-evaluator", pulse)
        except (OSError, EOFError) as error:
            self.failure = Failure(EVALUATOR, f"could not be started ({error or type(error).__name__})")

    def start(self, request: Request) -> None:
        """Begins to evaluate the snapshot."""
        self.request, self.is_evaluated, self.failure, self.polled_at = request, False, None, time.monotonic()
        self.prepare()
        if self.child is not None:
            with suppress(OSError):  # the process has died: `poll` will say why
                self.child.pipe.send(request)

    def poll(self) -> Result | Failure | None:
        """Returns the evaluation, then the video, or why there is none; None while the process plays."""
        if self.request is None:
            return None
        result = self._receive()
        if isinstance(result, Failure):
            self.kill()
            return VideoResult(None, result.reason) if self.is_evaluated else result
        if result is not None:
            self.is_evaluated = True
            if isinstance(result, VideoResult) or not self.request.video:
                self.request = None
        return result

    def _receive(self) -> Result | Failure | None:
        if self.child is None:
            return self.failure
        if self.child.pipe.poll():
            try:
                result: Result | Failure = self.child.pipe.recv()
            except (EOFError, OSError):
                return Failure(EVALUATOR, self.child.cause_of_death())
            return result
        now, limit = time.monotonic(), self.setup.experiment.supervision.stall_timeout
        passed, self.polled_at = now - self.polled_at, now
        if self.child.seconds_without_heartbeat(min(passed, 1.0)) > limit:
            return Failure(EVALUATOR, f"gave no sign of life for {limit:g} s")
        return None

    def kill(self) -> None:
        """Ends the process. `start` starts another one."""
        if self.child is not None:
            self.child.end()
        self.child = self.failure = self.request = None


class InlineEvaluator:
    """Evaluates the snapshot at once, in this process: for serial runs, which stay repeatable.

    Args:
        setup: Agent, environment and snapshot.
    """

    def __init__(self, setup: EvaluatorSetup) -> None:
        self.setup = setup
        self.results: deque[Result | Failure] = deque()

    @property
    def busy(self) -> bool:
        """Whether results wait to be polled."""
        return bool(self.results)

    def start(self, request: Request) -> None:
        """Evaluates the snapshot."""
        try:
            self.results.extend(run_request(self.setup, request))
        except Exception as error:
            self.results.append(failure_of(EVALUATOR, error))

    def poll(self) -> Result | Failure | None:
        """Returns the next result of the last `start`."""
        return self.results.popleft() if self.results else None

    def kill(self) -> None:
        """Does nothing: no process is running."""


def make_evaluator(
    experiment: Experiment, model: SharedModel, record_video: RecordVideo | None, context: BaseContext
) -> Evaluator:
    """Allocates a snapshot, and returns its evaluator: a process, or inline in a serial run."""
    setup = EvaluatorSetup(experiment, model.info, ParameterSnapshot.allocate(model, context), record_video)
    return InlineEvaluator(setup) if experiment.runtime == "serial" else EvaluatorProcess(setup, context)


def run_request(setup: EvaluatorSetup, request: Request) -> Iterator[Result]:
    """Evaluates the snapshot, then records a video if it is asked for.

    Every evaluation of a run begins with the same seeds, those of process-wide generators included.
    """
    experiment, snapshot = setup.experiment, setup.snapshot
    network = make_network(experiment, setup.info)
    flatten_parameters(network, into=snapshot.parameters.tensor)
    if network.normalizer is not None and snapshot.moments is not None:
        network.normalizer.set(snapshot.moments.combined)
    agent = Agent(experiment, setup.info, network, torch.Generator())
    global_random = GlobalRandom(np.random.SeedSequence(experiment.seed))
    with global_random.swapped_in():
        result = evaluate(agent, request.episodes, deterministic=False, seed=experiment.seed, pulse=snapshot.pulse)
    yield result
    if request.video and setup.record_video is not None:
        try:
            with global_random.swapped_in():
                video = VideoResult(setup.record_video(agent, experiment.seed, snapshot.pulse))
        except Exception as error:  # the environment cannot be drawn, or drawing failed in its own way
            video = VideoResult(None, str(error) or type(error).__name__)
        yield video


def run_evaluator(setup: EvaluatorSetup, pipe: Connection) -> None:
    """Main function of the evaluator's process.

    Args:
        setup: Agent, environment and snapshot.
        pipe: Gives requests, and takes their results.
    """
    end_with_parent()
    ignore_stop_signals()
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):  # the supervisor is gone
        while True:
            request = pipe.recv()
            try:
                for result in run_request(setup, request):
                    pipe.send(result)
            except Exception as error:
                pipe.send(failure_of(EVALUATOR, error))
