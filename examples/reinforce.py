"""REINFORCE (Williams 1992), a whole algorithm in one file.

Run it with `python examples/reinforce.py`; it learns Catch in some seconds.
"""

from dataclasses import dataclass

import torch

import asyncrl
from asyncrl import functional as F
from asyncrl.algorithms.base import Algorithm, check_rollouts, reduce
from asyncrl.networks.heads import policy_head
from asyncrl.types import Loss


@dataclass(frozen=True)
class Reinforce(Algorithm):
    """Σ_t [ -log π(a_t|s_t) G_t - β H(π(s_t)) ], G_t the rewards until the episode's end.

    Only episodes that end within a rollout are learned from, so rollouts should be much
    longer than episodes.
    """

    rollout_length: int = 60
    discount: float = 0.99
    entropy_weight: float = 0.02

    def __post_init__(self):
        check_rollouts(self.rollout_length, self.discount)

    def heads(self, action_space):
        return {"policy": policy_head(action_space)}

    def act(self, network, outputs, random):  # how the agent acts, trained or not
        return network.heads["policy"].sample(outputs["policy"], random)

    def act_greedily(self, network, outputs):
        return network.heads["policy"].mode(outputs["policy"])

    def loss(self, networks, rollout):
        network = networks.online
        head = network.heads["policy"]
        policy = network.unroll(rollout, final=False)["policy"]  # [T, B, A]
        no_values = torch.zeros(rollout.first.shape)  # [T+1, B]
        returns = F.returns.n_step_returns(
            rollout.rewards, rollout.discounts, no_values, rollout.valid
        )
        log_probabilities = head.log_probability(policy, rollout.actions)  # [T, B]
        losses = F.policy_gradient.policy_gradient(log_probabilities, returns)
        entropy = head.entropy(policy)  # [T, B]
        learned = rollout.valid & _ended(rollout)
        return Loss(
            total=reduce(losses - self.entropy_weight * entropy, learned),
            statistics={"entropy": entropy.detach()[rollout.valid].mean()},
        )


def _ended(rollout):
    """Which steps' episodes end within the rollout, bool [T, B]."""
    ends = ~rollout.valid | (rollout.discounts == 0)  # at a step, or just before it
    return ends.flip(0).cumsum(0).flip(0) > 0  # now or later


if __name__ == "__main__":  # workers are processes that import this file
    result = asyncrl.train("Catch", algorithm=Reinforce, steps=400_000)
    print(result.load().evaluate(episodes=200, deterministic=True).return_mean)
