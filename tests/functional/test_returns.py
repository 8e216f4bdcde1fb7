"""n-step returns against the literal sum, with episodes that end, are cut off, and begin again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asyncrl.functional.returns import lambda_returns, multi_step_returns, n_step_returns

GAMMA = 0.9

# what happens after each step of one environment: it goes on, terminates, or is truncated
patterns = st.lists(st.sampled_from(["on", "terminated", "truncated"]), min_size=1, max_size=8)


def transitions(pattern: list[str], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """rewards, discounts, values, valid, each [T(+1), 1], as a NEXT_STEP vector environment would give them."""
    random = np.random.default_rng(seed)
    rewards, discounts, valid = [], [], []
    for what in pattern:
        rewards.append(random.normal())
        discounts.append(0.0 if what == "terminated" else GAMMA)
        valid.append(True)
        if what != "on":  # the dummy step that resets
            rewards.append(random.normal())  # must be ignored
            discounts.append(GAMMA)
            valid.append(False)
    values = random.normal(size=len(rewards) + 1)
    as_column = lambda x: torch.tensor(np.array(x)).unsqueeze(1)  # noqa: E731
    return as_column(rewards), as_column(discounts), as_column(values), as_column(valid)


def literal_return(t: int, rewards: Tensor, discounts: Tensor, values: Tensor, valid: Tensor) -> float:
    """Σ_i γ^i r_{t+i} up to the end of the episode or of the rollout, and what remains from V of the state there."""
    total, factor = 0.0, 1.0
    for k in range(t, len(rewards)):
        if not valid[k]:
            return total + factor * float(values[k])  # k holds the final observation of a truncated episode
        total += factor * float(rewards[k])
        factor *= float(discounts[k])
        if factor == 0:
            return total  # terminated
    return total + factor * float(values[-1])


@given(patterns, st.integers(0, 1000))
def test_equals_the_literal_sum(pattern: list[str], seed: int) -> None:
    rewards, discounts, values, valid = transitions(pattern, seed)
    returns = n_step_returns(rewards, discounts, values, valid)
    for t in range(len(rewards)):
        if valid[t]:
            assert float(returns[t]) == pytest.approx(literal_return(t, rewards, discounts, values, valid))


@given(patterns, st.integers(1, 10), st.integers(0, 1000))
def test_multi_step_returns_equal_the_literal_sum(pattern: list[str], steps: int, seed: int) -> None:
    rewards, discounts, values, valid = transitions(pattern, seed)
    returns = multi_step_returns(rewards, discounts, values, valid, steps)
    for t in range(len(rewards)):
        if valid[t]:
            end = min(t + steps, len(rewards))
            window = rewards[:end], discounts[:end], values[: end + 1], valid[:end]
            assert float(returns[t]) == pytest.approx(literal_return(t, *window))
    if steps >= len(rewards):
        torch.testing.assert_close(returns, n_step_returns(rewards, discounts, values, valid))


@given(patterns, st.sampled_from([0.0, 0.3, 0.95, 1.0]), st.integers(0, 1000))
def test_lambda_returns_are_generalised_advantages(pattern: list[str], decay: float, seed: int) -> None:
    rewards, discounts, values, valid = transitions(pattern, seed)
    advantages = lambda_returns(rewards, discounts, values, valid, decay) - values[:-1]
    errors = rewards + discounts * values[1:] - values[:-1]  # δ_t
    for t in range(len(rewards)):
        total, factor = 0.0, 1.0  # Σ_k (γλ)^k δ_{t+k}, up to the end of the episode
        for k in range(t, len(rewards)):
            if not valid[k]:
                break
            total += factor * float(errors[k])
            factor *= decay * float(discounts[k])
        assert float(advantages[t]) == pytest.approx(total, abs=1e-9)


def test_hand_worked_terminated() -> None:
    # three steps, γ 0.5, terminated after the second; the dummy's reward 9 and V(final) = 7 must not count:
    # G_1 = 2, G_0 = 1 + 0.5 · 2 = 2
    returns = n_step_returns(
        torch.tensor([[1.0], [2.0], [9.0]]),
        torch.tensor([[0.5], [0.0], [0.5]]),
        torch.tensor([[3.0], [5.0], [7.0], [11.0]]),
        torch.tensor([[True], [True], [False]]),
    )
    assert returns[:2, 0].tolist() == [2.0, 2.0]


def test_hand_worked_truncated() -> None:
    # the same, but truncated: G_1 = 2 + 0.5 · V(final) = 2 + 0.5 · 7 = 5.5, G_0 = 1 + 0.5 · 5.5 = 3.75
    returns = n_step_returns(
        torch.tensor([[1.0], [2.0], [9.0]]),
        torch.tensor([[0.5], [0.5], [0.5]]),
        torch.tensor([[3.0], [5.0], [7.0], [11.0]]),
        torch.tensor([[True], [True], [False]]),
    )
    assert returns[:2, 0].tolist() == [3.75, 5.5]


def test_joined_episodes_equal_separate_calls() -> None:
    first = transitions(["on", "on", "terminated"], 1)
    second = transitions(["on", "truncated"], 2)
    joined = [torch.cat([a[:length], b]) for a, b, length in zip(first, second, (4, 4, 4, 4), strict=True)]
    returns = n_step_returns(*joined)
    assert torch.equal(returns[:3], n_step_returns(*first)[:3])
    assert torch.equal(returns[4:6], n_step_returns(*second)[:2])


def test_no_gradient_flows_through() -> None:
    values = torch.randn(4, 2, requires_grad=True)
    returns = n_step_returns(torch.ones(3, 2), torch.ones(3, 2), values, torch.ones(3, 2, dtype=torch.bool))
    assert not returns.requires_grad


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="one row more"):
        n_step_returns(torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 2, dtype=torch.bool))
