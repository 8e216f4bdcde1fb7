"""Evaluation of a frozen copy of the agent while its training goes on."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

from asyncrl.config import Experiment
from asyncrl.runtime.evaluator import Evaluation
from asyncrl.runtime.failure import Failure, failure_of
from asyncrl.runtime.processes import IGNORED, end_with_parent, socket_folder
from asyncrl.types import EnvironmentInfo

if TYPE_CHECKING:
    from asyncrl.runtime.learned import Frozen

EVALUATOR = -1
"""In the place of a worker's number."""


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
        self.process: Any = None
        self.pipe: Connection | None = None
        self.steps: int | None = None  # at which the copy was made, while it is evaluated

    @property
    def busy(self) -> bool:
        """Whether the copy is in use."""
        return self.steps is not None

    def start(self, steps: int) -> None:
        """Begins to evaluate the copy, made at that global step."""
        if self.pipe is None:
            self.pipe, theirs = self.context.Pipe()
            self.process = self.context.Process(  # type: ignore[attr-defined]
                target=_main, args=(*self.arguments, theirs, socket_folder()), name="asyncrl-evaluator", daemon=True
            )
            self.process.start()
            theirs.close()
        self.steps = steps
        with suppress(OSError):  # it has died: `poll` says so
            self.pipe.send(None)

    def poll(self) -> tuple[int, Evaluation] | Failure | None:
        """The step of the copy and what was found, or why there is nothing to be found; None while it plays."""
        if self.pipe is None or self.steps is None or not self.pipe.poll():
            return None
        steps = self.steps
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            message = Failure(EVALUATOR, "ended")
        if isinstance(message, Failure):
            self.kill()
            return message
        self.steps = None
        return steps, message

    def kill(self) -> None:
        """Ends the process; `start` makes another one."""
        if self.pipe is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            self.pipe = self.steps = None


class InlineEvaluator:
    """Evaluates at once, in this process: for serial runs, which it makes no less repeatable."""

    def __init__(self, experiment: Experiment, info: EnvironmentInfo, frozen: Frozen) -> None:
        self.arguments = experiment, info, frozen
        self.found: tuple[int, Evaluation] | Failure | None = None
        self.busy = False

    def start(self, steps: int) -> None:
        """Evaluates the copy, made at that global step."""
        try:
            self.found = steps, _evaluate(*self.arguments)
        except Exception as error:
            self.found = failure_of(EVALUATOR, error)

    def poll(self) -> tuple[int, Evaluation] | Failure | None:
        """What was found by the last `start`."""
        found, self.found = self.found, None
        return found

    def kill(self) -> None:
        """Nothing to end."""


def _evaluate(experiment: Experiment, info: EnvironmentInfo, frozen: Frozen) -> Evaluation:
    import torch

    from asyncrl.agent import Agent
    from asyncrl.networks.assemble import flatten_parameters, make_network

    network = make_network(experiment, info)
    flatten_parameters(network, into=frozen.parameters.tensor)
    if network.normalizer is not None and frozen.moments is not None:
        network.normalizer.set(frozen.moments.combined)
    agent = Agent(experiment, info, network, torch.Generator())
    return agent.evaluate(experiment.supervision.eval_episodes, seed=experiment.seed)


def _main(experiment: Experiment, info: EnvironmentInfo, frozen: Frozen, pipe: Connection, sockets: str) -> None:
    end_with_parent(sockets)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)  # the supervisor ends this process

    import torch

    torch.set_num_threads(1)
    with suppress(EOFError, OSError):  # the supervisor is gone
        while True:
            pipe.recv()
            try:
                pipe.send(_evaluate(experiment, info, frozen))
            except Exception as error:
                pipe.send(failure_of(EVALUATOR, error))
