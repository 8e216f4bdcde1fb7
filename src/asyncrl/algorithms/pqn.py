"""Parallelised Q-network, PQN (Gallici et al. 2025), on asynchronous workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.base import reduce, statistics
from asyncrl.algorithms.epsilon_greedy import ActionValues
from asyncrl.errors import UserError
from asyncrl.memory.shuffled import Constants, Minibatch, ShuffledRollout
from asyncrl.search_ranges import Around, OneOf, ShareOfSteps, searched
from asyncrl.types import Loss, Rollout, WorkerInfo

if TYPE_CHECKING:
    from asyncrl.networks.assemble import Networks


@dataclass(frozen=True)
class PQN(ActionValues):
    """Minimises the error of Q(s_t, a_t; θ') against λ-returns that bootstrap from max_a Q(s, a) of the same network.

    There is no target network and no replay memory: layer normalisation (--layer-norm), which the presets turn on,
    and many environments keep learning stable. Each rollout is learned in shuffled minibatches, several times over.

    Deviation: several workers learn into the shared θ without a lock, each from its own environments. With --workers 1
    it is the paper's algorithm.
    Deviation: a truncated episode bootstraps from its final observation. The authors' code treats it as terminated.
    """

    rollout_length: int = searched(32, Around(4))
    """Steps of each environment between two rounds of learning. The paper has 32 on Atari."""
    q_lambda: float = searched(0.65, OneOf((0.3, 0.5, 0.65, 0.8, 0.95)))
    """Weight of long returns against short ones in the targets [λ]: 0 gives 1-step targets."""
    epochs: int = searched(2, OneOf((1, 2, 4)))
    """Number of times that each rollout is learned."""
    minibatches: int = searched(32, Around(4))
    """Number of minibatches, and so of updates, in each epoch. A recurrent network has at most one for each environment
    of a worker, because it learns whole sequences."""
    final_epsilons: tuple[float, ...] = (0.001,)
    """Share of random actions at the end: one of these for each environment [ε]."""
    exploration_steps: int = searched(1_000_000, ShareOfSteps(0.05, 0.5))
    """Global steps in which the share of random actions falls from 1 to its final value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.q_lambda <= 1:
            raise UserError(f"--q-lambda must lie in [0, 1], not {self.q_lambda}")
        if self.epochs < 1 or self.minibatches < 1:
            raise UserError("--epochs and --minibatches must be at least 1")

    def make_memory(self, worker: WorkerInfo) -> ShuffledRollout:
        """The latest rollout, in minibatches."""
        return ShuffledRollout(self.epochs, self.minibatches, self._constants)

    def _constants(self, rollout: Rollout, networks: Networks) -> Constants:
        """The λ-returns [T, B], by the parameters θ' that acted."""
        best = networks.online.unroll(rollout)["q"].amax(-1)  # max_a Q(s, a; θ') [T+1, B]
        return {
            "targets": F.returns.lambda_returns(rollout.rewards, rollout.discounts, best, rollout.valid, self.q_lambda)
        }

    def loss(self, networks: Networks, experience: Minibatch) -> Loss:
        """Half the mean squared error of a minibatch."""
        batch, targets = experience, experience.constants["targets"]
        outputs, _ = networks.online(batch.observations, batch.state, batch.first)
        chosen = F.value_learning.taken(outputs["q"], batch.actions)  # [T, N]
        errors = F.value_learning.squared_error(chosen, targets)
        return Loss(
            total=reduce(errors, batch.valid) / (2 * len(batch.actions)),
            statistics=statistics(batch.valid, chosen, targets, {"value_loss": errors}),
        )
