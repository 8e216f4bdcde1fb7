"""How a node trades with the parameter server, while its workers go on without waiting.

Workers change the node's θ. `changes`: a reference r remembers θ as the server knows it, with everything that this node
has pushed. What lies between is not pushed yet: d = θ - r. A push sends d and sets r ← r + d. The answer is the
server's θ_s after that push, without the d' of later pushes that are still on their way. So the server knows
r' = θ_s + Σ d', and the node adds what others did, θ ← θ + (r' - r), and sets r ← r'. Rounding errors cannot add up,
because whatever θ is, the next push takes its distance from r.

`gradients`: workers add their gradients to a sum and leave θ alone. A push takes the sum, the server applies its
optimiser, and the node takes the server's θ as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from asyncrl.gorila.shard import Answer
from asyncrl.runtime.store import SharedState


class ServerLostError(Exception):
    """A push was lost, because a shard of the server has failed or is empty."""


class Trade(Protocol):
    """A push that is on its way."""

    def answers(self, timeout: float) -> list[Answer] | None:
        """The answer of each shard, in order; None if one has not come after `timeout` seconds.

        Raises:
            ServerLostError: A shard will not answer.
        """
        ...


class Server(Protocol):
    """The parameter server, as a node sees it. This is all that depends on how machines are connected."""

    def push(self, values: Tensor | None, learning_rate: float, seen: int, own: int) -> Trade:
        """Sends a vector [P], or asks for the parameters alone; see `asyncrl.gorila.shard.Push`.

        Pushes of a node arrive in order.
        """
        ...


@dataclass
class Traffic:
    """What a node has traded so far."""

    pushes: int = 0  # that were answered
    staleness: int = 0  # summed over these
    rejected: int = 0  # because they were too stale
    lost: int = 0  # because a shard failed


class Exchanger:
    """Trades between a node's shared memory and the server.

    Args:
        shared: What the node's workers share.
        server: The parameter server.
        in_flight: Number of pushes that may be on their way at once.
        learning_rate: The present learning rate.
    """

    def __init__(self, shared: SharedState, server: Server, in_flight: int, learning_rate: Callable[[], float]) -> None:
        self.parameters = shared.parameters.tensor
        self.gradients = None if shared.gradients is None else shared.gradients.tensor
        self.server, self.in_flight, self.learning_rate = server, in_flight, learning_rate
        self.reference = self.parameters.clone()
        self.pending: deque[tuple[Trade, Tensor | None]] = deque()
        self.version, self.traffic, self.connected = 0, Traffic(), True

    def turn(self, patience: float) -> None:
        """Pushes if it may, and takes in the answers that have come.

        Args:
            patience: How long to wait, in seconds, for an answer that the next push needs.
        """
        if len(self.pending) < self.in_flight:
            self._push()
        self.receive(patience if len(self.pending) >= self.in_flight else 0.0)

    def finish(self, patience: float) -> bool:
        """Pushes what is left and waits for all answers, `patience` seconds for each; returns whether they came."""
        self._push()
        left = len(self.pending) + 1
        while self.pending and len(self.pending) < left:
            left = len(self.pending)
            self.receive(patience)
        return not self.pending and self.connected

    def _push(self) -> None:
        if not self.connected and self.pending:
            return  # asks once, and waits until the server answers again
        values = self._unpushed() if self.connected else None
        trade = self.server.push(values, self.learning_rate(), self.version, len(self.pending))
        self.pending.append((trade, values))

    def _unpushed(self) -> Tensor | None:
        """What has come together since the last push; None if nothing has, so that the push only asks."""
        if self.gradients is not None:
            values = self.gradients.clone()
            self.gradients.sub_(values)  # not zeroed: workers may have added to it meanwhile
        else:
            values = self.parameters - self.reference
            self.reference += values
        return values if bool(values.any()) else None

    def receive(self, patience: float = 0.0) -> None:
        """Takes in the answers that have come, waiting up to `patience` seconds for the first."""
        while self.pending:
            try:
                answers = self.pending[0][0].answers(patience)
            except ServerLostError:
                self.traffic.lost += sum(values is not None for _, values in self.pending)
                self.pending.clear()
                self.connected = False
                return
            if answers is None:
                return
            _, values = self.pending.popleft()
            self._apply(answers, values)
            patience = 0.0

    def _apply(self, answers: list[Answer], values: Tensor | None) -> None:
        theirs = torch.cat([torch.from_numpy(answer.parameters) for answer in answers])
        if self.gradients is not None:
            self.parameters.copy_(theirs)
        else:
            for _, later in self.pending:
                if later is not None:
                    theirs += later
            self.parameters += theirs - self.reference
            self.reference = theirs
        self.version, self.connected = answers[0].version, True
        if values is not None:
            self.traffic.pushes += 1
            self.traffic.staleness += answers[0].staleness
            self.traffic.rejected += answers[0].rejected
