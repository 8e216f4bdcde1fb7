"""Losses and the categorical distribution: values and gradients against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from asyncrl.functional import categorical, policy_gradient, schedules, value_learning


def test_policy_gradient_is_the_score_times_the_advantage() -> None:
    # d/dlogits of -log π(a) A is (π - onehot(a)) A
    logits = torch.tensor([[0.2, -1.0, 0.7]], dtype=torch.float64, requires_grad=True)
    action, advantage = torch.tensor([2]), torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    loss = policy_gradient.policy_gradient(categorical.log_probability(logits, action), advantage).sum()
    gradient, through_advantage = torch.autograd.grad(loss, [logits, advantage], allow_unused=True)
    expected = (torch.softmax(logits, -1) - torch.tensor([[0.0, 0.0, 1.0]])) * 1.5
    torch.testing.assert_close(gradient, expected.detach())
    assert through_advantage is None


def test_a_good_action_becomes_likelier() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = policy_gradient.policy_gradient(categorical.log_probability(logits, torch.tensor([1])), torch.ones(1)).sum()
    (gradient,) = torch.autograd.grad(loss, [logits])
    stepped = torch.softmax(logits - gradient, -1)
    assert stepped[0, 1] > 1 / 3


def test_squared_error_and_its_gradient() -> None:
    values, targets = torch.tensor([1.0], requires_grad=True), torch.tensor([3.0], requires_grad=True)
    loss = value_learning.squared_error(values, targets)
    gradient, through_target = torch.autograd.grad(loss.sum(), [values, targets], allow_unused=True)
    assert loss.item() == 4.0
    assert gradient.item() == -4.0  # d(3 - v)²/dv = -2 (3 - v)
    assert through_target is None


def test_entropy_of_known_distributions() -> None:
    assert categorical.entropy(torch.zeros(6)).item() == pytest.approx(math.log(6))
    assert categorical.entropy(torch.tensor([50.0, 0.0])).item() == pytest.approx(0.0, abs=1e-6)
    logits = torch.log(torch.tensor([0.25, 0.75]))
    assert categorical.entropy(logits).item() == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))


def test_entropy_gradient() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(categorical.entropy, [logits])


def test_samples_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    draws = categorical.sample(probabilities.log().expand(60_000, 3), torch.Generator().manual_seed(0))
    counts = torch.bincount(draws, minlength=3) / 60_000
    torch.testing.assert_close(counts, probabilities, atol=0.01, rtol=0)


def test_sampling_is_repeatable() -> None:
    logits = torch.randn(100, 4)
    first, second = (categorical.sample(logits, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_linear_schedule() -> None:
    assert schedules.linear(2.0, 0.0, 0, 100) == 2.0
    assert schedules.linear(2.0, 0.0, 25, 100) == 1.5
    assert schedules.linear(2.0, 0.0, 100, 100) == 0.0
    assert schedules.linear(2.0, 0.0, 150, 100) == 0.0
