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
from collections.abc import Callable, Sequence
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

    def push(self, values: Tensor | None, learning_rate: float, seen: Sequence[int], own: int) -> Trade:
        """Sends a vector [P], or asks for the parameters alone. Pushes of a node arrive in order.

        Args:
            values: Changes or gradients.
            learning_rate: For gradients.
            seen: Version of each shard's parameters that the node has; empty as long as it has none.
            own: Pushes of this node that are still on their way.
        """
        ...


@dataclass
class Traffic:
    """What a node has traded so far."""

    pushes: int = 0  # that were answered
    staleness: int = 0  # summed over these
    rejected: int = 0  # by a shard, because they were too stale
    lost: int = 0  # because a shard failed

    @property
    def mean_staleness(self) -> float:
        """Of the pushes that were answered."""
        return self.staleness / max(self.pushes, 1)

    def since(self, earlier: Traffic) -> Traffic:
        """What was traded after an earlier moment."""
        return Traffic(
            self.pushes - earlier.pushes,
            self.staleness - earlier.staleness,
            self.rejected - earlier.rejected,
            self.lost - earlier.lost,
        )


class Exchanger:
    """Trades between a node's shared memory and the server.

    The first turn asks for the server's parameters; the others push.

    Args:
        shared: What the node's workers share.
        server: The parameter server.
        in_flight: Number of pushes that may be on their way at once.
        learning_rate: The present learning rate.
    """

    def __init__(self, shared: SharedState, server: Server, in_flight: int, learning_rate: Callable[[], float]) -> None:
        self.parameters, self.lock = shared.parameters.tensor, shared.lock
        self.gradients = None if shared.gradients is None else shared.gradients.tensor
        self.server, self.in_flight, self.learning_rate = server, in_flight, learning_rate
        self.reference = self.parameters.clone()
        self.pending: deque[tuple[Trade, Tensor | None]] = deque()
        self.versions: tuple[int, ...] = ()  # of each shard's parameters
        self.traffic, self.connected = Traffic(), False

    def turn(self) -> None:
        """Takes in the answers that have come, then pushes if it may."""
        self.receive()
        if len(self.pending) < self.in_flight:
            self._push()

    def finish(self, patience: float) -> bool:
        """Pushes what is left and waits up to `patience` seconds for each answer; returns whether all of them came."""
        for _ in range(3):  # where the server was lost, the first turn only asks
            complete = self.connected
            self._push()
            left = len(self.pending) + 1
            while self.pending and len(self.pending) < left:
                left = len(self.pending)
                self.receive(patience)
            if complete or self.pending:
                break
        return complete and self.connected and not self.pending

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

    def _push(self) -> None:
        if not self.connected and self.pending:
            return  # asks once, and waits until the server answers
        values = self._unpushed() if self.connected else None
        own = sum(earlier is not None for _, earlier in self.pending)  # questions raise no version
        trade = self.server.push(values, self.learning_rate(), self.versions, own)
        self.pending.append((trade, values))

    def _unpushed(self) -> Tensor | None:
        """What has come together since the last push; None if nothing has, so that the push only asks."""
        if self.gradients is not None:
            values = self.gradients.clone()
            self.gradients.sub_(values)  # not zeroed: workers may have added to it meanwhile
        else:
            with self.lock:  # no lock, unless the experiment asks for one
                values = self.parameters - self.reference
            self.reference += values
        return values if bool(values.any()) else None

    def _apply(self, answers: list[Answer], values: Tensor | None) -> None:
        theirs = torch.cat([torch.from_numpy(answer.parameters) for answer in answers])
        with self.lock:
            if self.gradients is not None:
                self.parameters.copy_(theirs)
            else:
                for _, later in self.pending:
                    if later is not None:
                        theirs += later
                self.parameters += theirs - self.reference
                self.reference = theirs
        self.versions, self.connected = tuple(answer.version for answer in answers), True
        if values is not None:
            self.traffic.pushes += 1
            self.traffic.staleness += max(answer.staleness for answer in answers)
            self.traffic.rejected += any(answer.rejected for answer in answers)
