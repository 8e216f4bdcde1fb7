"""Evaluation of a frozen copy of the agent while its training goes on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

from asyncrl.config import Experiment
from asyncrl.runtime.evaluator import Evaluation, evaluate
from asyncrl.runtime.failure import Failure, failure_of
from asyncrl.runtime.processes import ChildProcess, end_with_parent
from asyncrl.signals import leave_to_parent
from asyncrl.types import EnvironmentInfo, Video

if TYPE_CHECKING:
    from asyncrl.runtime.learned import Frozen

EVALUATOR = -1
"""In the place of a worker's number."""


@dataclass(frozen=True)
class Film:
    """What came of filming one more episode, after an evaluation."""

    video: Video | None
    reason: str = ""  # why there is none


Finding = Evaluation | Film
"""The film comes by itself, so that drawing, which may kill a process, can cost no evaluation."""


class EvaluatorProcess:
    """Plays episodes with a frozen copy of the agent in a process of its own.

    Args:
        experiment: Of the agent.
        info: Its environment.
        frozen: Where the copy lies.
        context: How to start the process.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo, frozen: Frozen, context: BaseContext) -> None:
        self.arguments, self.context = (experiment, info, frozen), context
        self.child: ChildProcess | None = None
        self.failure: Failure | None = None  # it could not be started
        self.steps: int | None = None  # at which the copy was made, while it is evaluated
        self.is_evaluated = False  # its film may be still to come
        self.polled_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether the copy is in use."""
        return self.steps is not None

    def start(self, steps: int) -> None:
        """Begins to evaluate the copy, made at that global step."""
        experiment, info, frozen = self.arguments
        self.steps, self.is_evaluated, self.polled_at = steps, False, time.monotonic()
        try:
            if self.child is None:
                self.child = ChildProcess(
                    self.context, _main, (experiment, info, frozen), "asyncrl-evaluator", frozen.pulse
                )
            self.child.pipe.send(None)
        except (OSError, EOFError) as error:
            self.failure = Failure(EVALUATOR, f"could not be started ({error or type(error).__name__})")

    def poll(self) -> tuple[int, Finding] | Failure | None:
        """The step of the copy and what was found first, or why it cannot be evaluated; None while it plays."""
        if self.steps is None:
            return None
        steps, found = self.steps, self._found()
        if isinstance(found, Failure):
            self.kill()
            return (steps, Film(None, found.reason)) if self.is_evaluated else found
        if found is None:
            return None
        self.is_evaluated = True
        if isinstance(found, Film) or not self.arguments[0].supervision.eval_video:
            self.steps = None
        return steps, found

    def _found(self) -> Finding | Failure | None:
        if self.child is None or self.failure is not None:
            return self.failure
        if self.child.pipe.poll():
            try:
                found: Finding | Failure = self.child.pipe.recv()
            except (EOFError, OSError):
                return Failure(EVALUATOR, self.child.cause_of_death())
            return found
        now, limit = time.monotonic(), self.arguments[0].supervision.stall_timeout
        passed, self.polled_at = now - self.polled_at, now
        if self.child.stands_still(min(passed, 1.0)) > limit:
            return Failure(EVALUATOR, f"gave no sign of life for {limit:g} s")
        return None

    def kill(self) -> None:
        """Ends the process; `start` makes another one."""
        if self.child is not None:
            self.child.end()
        self.child = self.failure = self.steps = None


class InlineEvaluator:
    """Evaluates at once, in this process: for serial runs, which it makes no less repeatable."""

    def __init__(self, experiment: Experiment, info: EnvironmentInfo, frozen: Frozen) -> None:
        self.arguments = experiment, info, frozen
        self.found: deque[tuple[int, Finding] | Failure] = deque()

    @property
    def busy(self) -> bool:
        """Whether there is something to be taken in."""
        return bool(self.found)

    def start(self, steps: int) -> None:
        """Evaluates the copy, made at that global step."""
        try:
            for found in _evaluate(*self.arguments):
                self.found.append((steps, found))
        except Exception as error:
            self.found.append(failure_of(EVALUATOR, error))

    def poll(self) -> tuple[int, Finding] | Failure | None:
        """What was found by the last `start`, one after the other."""
        return self.found.popleft() if self.found else None

    def kill(self) -> None:
        """Nothing to end."""


def _evaluate(experiment: Experiment, info: EnvironmentInfo, frozen: Frozen) -> Iterator[Finding]:
    import torch

    from asyncrl.agent import Agent
    from asyncrl.networks.assemble import flatten_parameters, make_network

    network = make_network(experiment, info)
    flatten_parameters(network, into=frozen.parameters.tensor)
    if network.normalizer is not None and frozen.moments is not None:
        network.normalizer.set(frozen.moments.combined)
    agent = Agent(experiment, info, network, torch.Generator())
    episodes = experiment.supervision.eval_episodes
    yield evaluate(agent, episodes, deterministic=False, seed=experiment.seed, pulse=frozen.pulse)
    if not experiment.supervision.eval_video:
        return

    try:
        from asyncrl.analysis.film import film

        filmed = Film(film(agent, experiment.seed, frozen.pulse))
    except Exception as error:  # no way to draw on this machine, or whatever else drawing may meet
        filmed = Film(None, str(error) or type(error).__name__)
    yield filmed


def _main(experiment: Experiment, info: EnvironmentInfo, frozen: Frozen, pipe: Connection) -> None:
    end_with_parent()
    leave_to_parent()

    import torch

    torch.set_num_threads(1)
    with suppress(EOFError, OSError):  # the supervisor is gone
        while True:
            pipe.recv()
            try:
                for found in _evaluate(experiment, info, frozen):
                    pipe.send(found)
            except Exception as error:
                pipe.send(failure_of(EVALUATOR, error))
