"""Actor-critic with experience replay, ACER (Wang et al. 2017), on asynchronous workers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Box, Discrete

from asyncrl import functional as F
from asyncrl.algorithms.actor_critic import policy_of
from asyncrl.algorithms.base import (
    DISCOUNTS,
    Algorithm,
    TargetUpdate,
    Towards,
    check_counts,
    check_replay,
    check_rollouts,
    reduce,
    statistics,
)
from asyncrl.errors import UserError
from asyncrl.memory.trajectories import SavedTrajectoryMemory, Trajectories, TrajectoryMemory, TrajectoryRules
from asyncrl.search_ranges import Around, Between, OneOf, searched
from asyncrl.tree import tree_map
from asyncrl.types import Loss, Outputs, Rollout, WorkerInfo

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.algorithms.critics import Criticism
    from asyncrl.networks.assemble import Network, Networks
    from asyncrl.networks.heads import Head


@dataclass(frozen=True)
class ACER(Algorithm):
    """Learns from each rollout once as it comes, and then from replayed trajectories.

    The policy gradient has truncated importance weights with a bias correction, targets are Retrace's, and the gradient
    by the outputs of the policy head φ is projected so that the policy stays near an average of earlier policies. With
    continuous actions, the critic is a stochastic dueling network.

    Deviation: the average network begins each rollout with the recurrent state of the network that acted.
    Deviation: the entropy bonus is part of the gradient that the trust region limits; the pseudo-code has no bonus.
    """

    rollout_length: int = searched(20, Around(4))
    """Steps of each environment between two updates, and of a replayed trajectory [k]."""
    discount: float = searched(0.99, DISCOUNTS)
    """How much a reward one step later is worth [γ]."""
    entropy_weight: float = searched(1e-3, Between(1e-4, 0.1))
    """Of the entropy bonus, which keeps the policy from narrowing early."""
    value_weight: float = 0.5
    """Of the squared errors of action values."""
    truncation: float = 10.0
    """Largest importance weight [c]."""
    bias_correction: bool = True
    """Correct the bias of truncated importance weights by the values of other actions."""
    retrace: bool = True
    """Targets of action values by Retrace. Without it they are n-step returns that are not corrected for the policy."""
    trust_region: bool = True
    """Limit each step of the policy by its divergence from the average policy."""
    trust_region_limit: float = searched(1.0, Around(10), unless=("trust_region", False))
    """How fast, to first order, the divergence from the average policy may grow [δ]."""
    average_decay: float = 0.99
    """Share that the average policy keeps of itself at each update [α]."""
    dueling_samples: int = 5
    """Actions that are drawn for the mean advantage of a continuous policy [n]."""
    replay_ratio: float = searched(4.0, OneOf((1.0, 2.0, 4.0, 8.0)))
    """Mean number of replayed steps learned for each step taken. 0 learns on policy only."""
    replay_capacity: int = 100_000
    """Number of steps that the memories of all workers keep together."""
    replay_start: int = 5_000
    """Number of steps, over all workers, that are collected before anything is replayed."""
    save_replay: bool = False
    """Keep a copy of the replayed trajectories on disk, beside the checkpoints, so that a resumed run has them again.
    Without it, a resumed run collects --replay-start new steps before it replays again."""

    def __post_init__(self) -> None:
        check_rollouts(self.rollout_length, self.discount)
        if min(self.entropy_weight, self.value_weight) < 0:
            raise UserError("--entropy-weight and --value-weight must not be negative")
        if not self.truncation > 0:
            raise UserError(f"--truncation must be positive, not {self.truncation}")
        if not self.trust_region_limit >= 0:
            raise UserError(f"--trust-region-limit must not be negative, not {self.trust_region_limit}")
        if not 0 <= self.average_decay < 1:
            raise UserError(f"--average-decay must lie in [0, 1), not {self.average_decay}")
        if not 0 <= self.replay_ratio < math.inf:
            raise UserError(f"--replay-ratio must be 0 or more, not {self.replay_ratio}")
        check_counts(self, "dueling_samples", "replay_capacity", "replay_start")
        if self.replay_ratio:
            check_replay(self.replay_capacity, self.replay_start)

    @property
    def target_update(self) -> TargetUpdate | None:
        """θ⁻ is the average network, which only the trust region needs."""
        return Towards(self.average_decay) if self.trust_region else None

    @property
    def learns_before_replay(self) -> bool:
        """It learns from each rollout once as it comes."""
        return True

    @property
    def behaviour(self) -> tuple[str, ...]:
        """The policies that acted."""
        return ("policy",)

    def heads(self, action_space: Space[Any]) -> Mapping[str, Head]:
        """A policy, and action values: one for each action, or a stochastic dueling network.

        Raises:
            UserError: The actions have several discrete components.
        """
        from asyncrl.networks.action_values import action_value_head
        from asyncrl.networks.heads import Head, ValueHead, policy_head
        from asyncrl.networks.stochastic_dueling import AdvantageHead

        if isinstance(action_space, Discrete):
            action_values = replace(action_value_head(action_space, dueling=False), acting=False)
            return {"policy": policy_head(action_space), "q": action_values}
        if isinstance(action_space, Box):
            size = math.prod(action_space.shape)
            advantage = Head(lambda features: AdvantageHead(features, size), acting=False)
            return {"policy": policy_head(action_space), "value": Head(ValueHead, acting=False), "advantage": advantage}
        raise UserError(f"acer needs Discrete or Box actions, not {action_space}: take --algorithm a3c")

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """Actions drawn from the policy."""
        return policy_of(network).sample(outputs["policy"], random)

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """The policy's most probable actions."""
        return policy_of(network).mode(outputs["policy"])

    def _rules(self, worker: WorkerInfo) -> TrajectoryRules:
        """What one worker replays."""
        space = worker.environment.action_space
        size, draws = math.prod(space.shape or ()) + 1, self.dueling_samples + 1
        if isinstance(space, Discrete):
            size, draws = int(space.n), 0
        return TrajectoryRules(
            capacity=self.replay_capacity // worker.workers,
            start=self.replay_start // worker.workers,
            ratio=self.replay_ratio,
            policy_size=size,
            draws=draws,
        )

    def make_memory(self, worker: WorkerInfo) -> TrajectoryMemory:
        """The newest rollout, and the worker's share of the replayed trajectories."""
        kind = SavedTrajectoryMemory if self.save_replay or not self.replay_ratio else TrajectoryMemory
        return kind(self._rules(worker), self.rollout_length, worker)

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that the worker's share takes when it is full."""
        return self._rules(worker).memory_bytes(worker)

    def loss(self, networks: Networks, experience: Trajectories) -> Loss:
        """The loss of T steps of B trajectories, summed over the steps.

        Its gradient is that of the paper's Algorithms 2 and 3: by φ, the gradient of the policy's part is -z*.
        """
        from asyncrl.algorithms.critics import criticise, ratios_of

        rollout, outputs = experience.rollout, networks.online.unroll(experience.rollout)  # [T+1, B, ...]
        policy, criticism = outputs["policy"][:-1], criticise(networks.online, outputs, experience)
        ratios = ratios_of(policy_of(networks.online), policy, rollout, rollout.actions)  # [T, B]
        targets, returns = self._targets(rollout, criticism, ratios)

        direction, shown = self._direction(networks, rollout, policy.detach(), criticism, ratios, returns)
        policy_loss = -(direction * policy).sum(-1)
        value_loss = F.value_learning.squared_error(criticism.taken, targets)
        losses = policy_loss + self.value_weight * value_loss
        if criticism.state_values is not None:
            errors = F.off_policy.truncated_weights(ratios, 1.0) * (targets - criticism.taken)
            state_targets = criticism.values[:-1] + errors
            state_losses = F.value_learning.squared_error(criticism.state_values, state_targets)
            losses = losses + self.value_weight * state_losses
        return Loss(
            total=reduce(losses, rollout.valid),
            statistics=statistics(rollout.valid, criticism.taken, targets, {**shown, "value_loss": value_loss}),
        )

    def _targets(self, rollout: Rollout, criticism: Criticism, ratios: Tensor) -> tuple[Tensor, Tensor]:
        """Targets of the action values, and the returns that advantages are made of, each [T, B].

        They are the same for discrete actions. Continuous ones have returns without importance weights, Q_opc.
        """
        values, taken = criticism.values, criticism.taken
        if not self.retrace:
            returns = F.returns.n_step_returns(rollout.rewards, rollout.discounts, values, rollout.valid)
            return returns, returns

        def targets(traces: Tensor) -> Tensor:
            return F.off_policy.retrace(rollout.rewards, rollout.discounts, values, taken, traces, rollout.valid)

        weights = F.off_policy.truncated_weights(ratios, 1.0)
        retraced = targets(weights ** (1 / criticism.dimensions))
        return retraced, retraced if criticism.state_values is None else targets(weights.new_ones(weights.shape))

    def _direction(
        self,
        networks: Networks,
        rollout: Rollout,
        policy: Tensor,
        criticism: Criticism,
        ratios: Tensor,
        returns: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The step z* of φ [T, B, S], and statistics of it, each [T, B].

        Args:
            networks: The worker's networks.
            rollout: T steps of B trajectories.
            policy: φ [T, B, S], detached.
            criticism: Of these trajectories.
            ratios: ρ of the actions taken [T, B].
            returns: Of these actions [T, B].
        """
        import torch

        from asyncrl.algorithms.critics import bias_correction

        head, policy = policy_of(networks.online), policy.requires_grad_()
        weights = F.off_policy.truncated_weights(ratios, self.truncation)
        advantages = weights * (returns - criticism.values[:-1])
        log_probabilities = head.log_probability(policy, rollout.actions)
        policy_loss = F.policy_gradient.policy_gradient(log_probabilities, advantages)
        if self.bias_correction:
            policy_loss = policy_loss - bias_correction(head, policy, rollout, criticism, self.truncation)
        entropy = head.entropy(policy)
        gain = (self.entropy_weight * entropy - policy_loss).sum()
        (gradient,) = torch.autograd.grad(gain, policy)
        shown = {"entropy": entropy, "policy_loss": policy_loss, "importance_weight": weights}
        if networks.target is None:
            return gradient, shown

        with torch.no_grad():
            observations = tree_map(lambda rows: rows[:-1], rollout.observations)
            average = networks.target(observations, rollout.state, rollout.first[:-1])[0]["policy"]
        divergence = head.kl_divergence(average, policy)
        (towards,) = torch.autograd.grad(divergence.sum(), policy)
        step = F.off_policy.trust_region(gradient, towards, self.trust_region_limit)
        limited = (step != gradient).any(-1).to(torch.float32)
        return step, {**shown, "policy_divergence": divergence, "limited_steps": limited}
