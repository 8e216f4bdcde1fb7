"""Parallelised Q-network, PQN (Gallici et al. 2025), on asynchronous workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrl import functional as F
from asyncrl.algorithms.base import reduce, statistics
from asyncrl.algorithms.epsilon_greedy import ActionValues
from asyncrl.errors import UserError
from asyncrl.memory.latest import LatestRollout
from asyncrl.search_ranges import Around, OneOf, ShareOfSteps, searched
from asyncrl.tree import tree_map
from asyncrl.types import Loss, Progress, Rollout, State, WorkerInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.networks.assemble import Networks


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Part of a rollout, with its targets.

    For feed-forward networks it is N single steps, and T is 1. For recurrent networks it is the whole rollout of N
    environments.
    """

    observations: Any  # [T, N, ...], or that for each key
    actions: Tensor  # [T, N]
    targets: Tensor  # of Q [T, N]
    valid: Tensor  # [T, N] bool, false on dummy steps
    first: Tensor  # [T, N] bool
    state: State  # recurrent state before the observations, each [N, H]

    def in_one_row(self) -> Minibatch:
        """The same T · N steps as N single ones, without a recurrent state."""
        return self._changed(lambda rows: rows.reshape(1, -1, *rows.shape[2:]), ())

    def columns(self, places: Tensor) -> Minibatch:
        """Some of the N columns."""
        return self._changed(lambda rows: rows.index_select(1, places), tuple(part[places] for part in self.state))

    def _changed(self, change: Callable[[Tensor], Tensor], state: State) -> Minibatch:
        return Minibatch(
            observations=tree_map(change, self.observations),
            actions=change(self.actions),
            targets=change(self.targets),
            valid=change(self.valid),
            first=change(self.first),
            state=state,
        )


class ShuffledRollout(LatestRollout):
    """The latest rollout in random minibatches, several times over.

    Args:
        epochs: How many times.
        minibatches: Into how many parts; there are fewer if there are fewer steps, or environments if it is recurrent.
        decay: λ of the targets.
    """

    def __init__(self, epochs: int, minibatches: int, decay: float) -> None:
        self.epochs, self.minibatches, self.decay = epochs, minibatches, decay

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Minibatch]:
        """The minibatches of all epochs. All targets come from the parameters θ' that acted."""
        import torch

        assert self.rollout is not None
        part = self._with_targets(self.rollout, networks)
        if not part.state:
            part = part.in_one_row()
        places = part.valid.any(0).nonzero().squeeze(-1)  # of columns with anything to learn from
        for _ in range(self.epochs if len(places) else 0):
            shuffled = places[torch.randperm(len(places), generator=random)]
            for chosen in shuffled.tensor_split(min(self.minibatches, len(places))):
                yield part.columns(chosen)

    def _with_targets(self, rollout: Rollout, networks: Networks) -> Minibatch:
        """All steps of a rollout, with their λ-returns."""
        import torch

        with torch.no_grad():
            best = networks.online.unroll(rollout)["q"].amax(-1)  # max_a Q(s, a; θ') [T+1, B]
        targets = F.returns.lambda_returns(rollout.rewards, rollout.discounts, best, rollout.valid, self.decay)
        observations = tree_map(lambda rows: rows[:-1], rollout.observations)
        return Minibatch(observations, rollout.actions, targets, rollout.valid, rollout.first[:-1], rollout.state)


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
        return ShuffledRollout(self.epochs, self.minibatches, self.q_lambda)

    def loss(self, networks: Networks, experience: Minibatch) -> Loss:
        """Half the mean squared error of a minibatch."""
        batch = experience
        outputs, _ = networks.online(batch.observations, batch.state, batch.first)
        chosen = F.value_learning.taken(outputs["q"], batch.actions)  # [T, N]
        errors = F.value_learning.squared_error(chosen, batch.targets)
        return Loss(
            total=reduce(errors, batch.valid) / (2 * len(batch.actions)),
            statistics=statistics(batch.valid, chosen, batch.targets, {"value_loss": errors}),
        )
