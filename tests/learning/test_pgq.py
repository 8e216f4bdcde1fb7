"""PGQ's identity where the policy gradient has converged, the optimum of a chain, and the experiment on a grid."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asyncrl import functional as F
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.supervisor import Supervisor
from tests.experiments import small
from tests.learning.test_learning import GAMMA, STATES, true_action_values
from tests.pages import REPOSITORY

S, A, DISCOUNT = 6, 3, 0.9


class DecisionProcess:
    """A random decision process in tables."""

    def __init__(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.transitions = torch.rand(S, A, S, dtype=torch.float64, generator=random) ** 4
        self.transitions /= self.transitions.sum(-1, keepdim=True)
        self.rewards = torch.randn(S, A, dtype=torch.float64, generator=random)

    def action_values(self, policy: Tensor) -> Tensor:
        """Q^π [S, A], exactly."""
        matrix = torch.eye(S, dtype=torch.float64) - DISCOUNT * (policy[..., None] * self.transitions).sum(1)
        values = torch.linalg.solve(matrix, (policy * self.rewards).sum(-1))
        return self.rewards + DISCOUNT * self.transitions @ values

    def fixed_point(self, temperature: float) -> Tensor:
        """Logits [S, A] at which the regularised policy gradient is zero: π ∝ exp(Q^π / α)."""
        logits = torch.zeros(S, A, dtype=torch.float64)
        for _ in range(3000):
            logits = logits.lerp(self.action_values(logits.softmax(-1)) / temperature, 0.2)
        return logits


def implied(logits: Tensor, values: Tensor, temperature: float) -> Tensor:
    """Q̃ [S, A]."""
    entropies = F.categorical.entropy(logits).unsqueeze(-1)
    return F.value_learning.implied_action_values(logits.log_softmax(-1), entropies, values.unsqueeze(-1), temperature)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_where_the_policy_gradient_vanishes_the_implied_action_values_are_the_true_ones(temperature: float) -> None:
    process = DecisionProcess(seed=1)
    logits = process.fixed_point(temperature).requires_grad_()
    policy = logits.softmax(-1).detach()
    truth = process.action_values(policy)
    values = (policy * truth).sum(-1)
    advantages = truth - values.unsqueeze(-1)

    losses = F.policy_gradient.policy_gradient(logits.log_softmax(-1), advantages)  # A3C's, of every action
    loss = (policy * losses).sum(-1) - temperature * F.categorical.entropy(logits)
    (gradient,) = torch.autograd.grad(loss.sum(), [logits])
    assert gradient.abs().max() < 1e-10
    found = implied(logits.detach(), values, temperature)
    torch.testing.assert_close(found, truth, rtol=0.0, atol=1e-10)

    # the values differ from the optimal ones by as much as the policy is random: |T*Q̃ - Q̃| ≤ γ α log A
    residual = process.rewards + DISCOUNT * process.transitions @ found.amax(-1) - found
    assert 1e-6 < residual.max() < DISCOUNT * temperature * math.log(A)
    assert residual.min() > -1e-10

    elsewhere = logits.detach() + 0.1 * torch.eye(S, A, dtype=torch.float64)
    policy = elsewhere.softmax(-1)
    truth = process.action_values(policy)
    gap = implied(elsewhere, (policy * truth).sum(-1), temperature) - truth
    assert gap.abs().max() > 0.01 * temperature  # it is no identity of all policies


def test_the_optimum_of_a_stochastic_chain(tmp_path: Path) -> None:
    experiment = small(
        "test/SlipperyChain-v0",
        "pgq",
        steps=12_000,
        rollout_length=4,
        envs_per_worker=8,
        discount=GAMMA,
        hidden=(32,),
        learning_rate=5e-3,
        entropy_weight=0.01,
        replay_start=500,
        batch_size=64,
    )
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    supervisor.run([])
    supervisor.model.agent_tensors()
    outputs, _ = supervisor.model.network(torch.eye(STATES)[None], (), torch.ones(1, STATES, dtype=torch.bool))
    logits, values = outputs["policy"][0].detach(), outputs["value"][0].detach()
    truth = torch.from_numpy(true_action_values(None)).float()
    assert logits.argmax(-1).tolist() == truth.argmax(-1).tolist()
    assert (implied(logits, values, 0.01) - truth).abs().max() < 0.1  # Q̃ of every action is near Q*


def test_on_a_grid_pgq_needs_less_experience_than_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import pgq_grid

    scores = {
        method: np.array([pgq_grid.learn(method, seed, 1_500) for seed in range(3)]) for method in pgq_grid.METHODS
    }
    needed = {method: float(np.median(pgq_grid.needed(rows))) for method, rows in scores.items()}
    assert needed["PGQ"] < 1_000
    assert needed["PGQ"] < 0.8 * min(needed["actor-critic"], needed["Q-learning"])
