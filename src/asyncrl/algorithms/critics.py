"""The critics of ACER, of discrete and of continuous actions (Wang et al. 2017, §3 and §5), and what needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from asyncrl import functional as F
from asyncrl.memory.trajectories import Trajectories
from asyncrl.types import Outputs, Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import PolicyHead
    from asyncrl.networks.stochastic_dueling import AdvantageHead


@dataclass(frozen=True, slots=True)
class Criticism:
    """What a critic says of T steps of B trajectories, and of K actions at each step that stand for the policy."""

    values: Tensor  # V [T+1, B], detached
    taken: Tensor  # Q(s_t, a_t) [T, B]
    others: Tensor  # the K actions [K, T, B, ...]
    shares: Tensor  # what each counts in a mean over the policy [K, T, B]
    other_values: Tensor  # their Q [K, T, B], detached
    state_values: Tensor | None = None  # V [T, B] where it is learned; otherwise it follows from Q and the policy
    dimensions: int = 1  # of a continuous action [d]


def criticise(network: Network, outputs: Outputs, experience: Trajectories) -> Criticism:
    """Reads the critic of a network.

    Args:
        network: Whose outputs they are.
        outputs: The heads' outputs along the trajectories [T+1, B, ...].
        experience: The trajectories.
    """
    if "q" in outputs:
        return _of_all_actions(outputs, experience)
    return _of_drawn_actions(network, outputs, experience)


def _of_all_actions(outputs: Outputs, experience: Trajectories) -> Criticism:
    """V = Σ_a π(a) Q(s, a), and every action stands for the policy with its probability."""
    policy, action_values = outputs["policy"].detach().softmax(-1), outputs["q"]  # [T+1, B, A]
    fixed, steps = action_values.detach(), slice(-1)
    shares = policy[steps].movedim(-1, 0)  # [A, T, B]
    return Criticism(
        values=(policy * fixed).sum(-1),
        taken=F.value_learning.taken(action_values[steps], experience.rollout.actions),
        others=torch.arange(len(shares)).view(-1, 1, 1).expand_as(shares),
        shares=shares,
        other_values=fixed[steps].movedim(-1, 0),
    )


def _of_drawn_actions(network: Network, outputs: Outputs, experience: Trajectories) -> Criticism:
    """Q̃(s, a) = V(s) + A(s, a) - 1/n Σ_i A(s, u_i) with actions u_i drawn from the policy (§5).

    One more action stands for the policy.
    """
    head, dueling = cast("PolicyHead", network.heads["policy"]), cast("AdvantageHead", network.heads["advantage"])
    policy, values, hidden = outputs["policy"][:-1].detach(), outputs["value"], outputs["advantage"][:-1]
    drawn = head.sample_from(policy, experience.noise)  # [n+1, T, B, D]
    means = dueling.advantage(hidden, drawn[:-1]).mean(0)  # [T, B]
    taken = values[:-1] + dueling.advantage(hidden, experience.rollout.actions) - means
    with torch.no_grad():
        other_values = values[:-1] + dueling.advantage(hidden, drawn[-1:]) - means
    return Criticism(
        values=values.detach(),
        taken=taken,
        others=drawn[-1:],
        shares=torch.ones_like(other_values),
        other_values=other_values,
        state_values=values[:-1],
        dimensions=head.components,
    )


def ratios_of(head: PolicyHead, policy: Tensor, rollout: Rollout, actions: Tensor) -> Tensor:
    """Calculates ρ = π(a) / μ(a) [..., T, B] of actions [..., T, B, ...] in a rollout's states.

    Args:
        head: Of the policy.
        policy: φ [..., T, B, S], the head's outputs.
        rollout: T steps of B trajectories, with the behaviour policies μ.
        actions: The actions.
    """
    behaviour = rollout.behaviour["policy"].expand_as(policy)
    return F.off_policy.importance_ratios(
        head.log_probability(policy, actions), head.log_probability(behaviour, actions)
    )


def bias_correction(
    head: PolicyHead, policy: Tensor, rollout: Rollout, criticism: Criticism, truncation: float
) -> Tensor:
    """Calculates E_π[[1 - c/ρ(a)]₊ (Q(s, a) - V(s)) log π(a)] [T, B], differentiable in log π only (§3.2).

    Args:
        head: Of the policy.
        policy: φ [T, B, S], the head's outputs.
        rollout: T steps of B trajectories.
        criticism: Of these trajectories.
        truncation: c.
    """
    policies = policy.expand(len(criticism.others), *policy.shape)  # [K, T, B, S]
    ratios = ratios_of(head, policies, rollout, criticism.others)
    weights = criticism.shares * F.off_policy.correction_weights(ratios, truncation)
    advantages = weights * (criticism.other_values - criticism.values[:-1])
    return (advantages * head.log_probability(policies, criticism.others)).sum(0)
