"""Pseudo-rewards, reward classes and the targets of auxiliary tasks, each beside a slow transcription."""

from __future__ import annotations

import pytest
import torch

from asyncrl import functional as F

T, N = 6, 3


def some_ends(random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, discounts and validity [T, N] with a terminal state and its dummy step, and a truncation."""
    rewards, discounts = torch.randn(T, N, generator=random), torch.full((T, N), 0.9)
    valid = torch.ones(T, N, dtype=torch.bool)
    discounts[1, 0], valid[2, 0], valid[4, 1] = 0.0, False, False
    return rewards, discounts, valid


def test_pixel_change_equals_a_loop_over_pixels() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.rand(3, 2, 8, 12, 3, generator=random)
    changes = F.auxiliary.pixel_change(images, 4)
    assert changes.shape == (2, 2, 2, 3)
    for t, b, row, column in torch.cartesian_prod(*(torch.arange(size) for size in changes.shape)).tolist():
        total = 0.0
        for y in range(4 * row, 4 * row + 4):
            for x in range(4 * column, 4 * column + 4):
                total += sum(abs(float(images[t + 1, b, y, x, c] - images[t, b, y, x, c])) for c in range(3))
        assert float(changes[t, b, row, column]) == pytest.approx(total / (16 * 3), rel=1e-5)


def test_the_means_of_cells() -> None:
    images = torch.arange(16.0).view(4, 4, 1)
    assert F.auxiliary.cell_means(images, 2).squeeze(-1).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert torch.equal(F.auxiliary.cell_means(images, 1), images)


def test_rewards_are_classified_by_their_sign() -> None:
    assert F.auxiliary.reward_classes(torch.tensor([0.0, 0.1, -3.0, 7.0])).tolist() == [0, 1, 2, 1]


def test_cut_returns_are_truncated_at_the_cut_and_at_the_end() -> None:
    random = torch.Generator().manual_seed(1)
    rewards, discounts, valid = some_ends(random)
    values, cuts = torch.randn(T + 1, N, generator=random), torch.tensor([4, 1, T])
    found = F.auxiliary.cut_returns(rewards, discounts, values, valid, cuts)

    def wanted(t: int, n: int, end: int) -> float:
        if t == end or not valid[t, n]:
            return float(values[t, n])
        return float(rewards[t, n] + discounts[t, n] * wanted(t + 1, n, end))

    for t in range(T):
        for n in range(N):
            end = int(cuts[n]) if t < cuts[n] else T
            assert float(found[t, n]) == pytest.approx(wanted(t, n, end), rel=1e-5), (t, n)


def test_without_a_cut_they_are_n_step_returns() -> None:
    random = torch.Generator().manual_seed(2)
    rewards, discounts, valid = some_ends(random)
    values = torch.randn(T + 1, N, generator=random)
    whole = F.returns.n_step_returns(rewards, discounts, values, valid)
    for cut in (0, T):
        assert torch.equal(F.auxiliary.cut_returns(rewards, discounts, values, valid, torch.full((N,), cut)), whole)


def test_control_targets_are_n_step_q_learning_of_each_quantity() -> None:
    random = torch.Generator().manual_seed(3)
    _, discounts, valid = some_ends(random)
    pseudo_rewards = torch.rand(T, N, 2, 4, generator=random)
    action_values = torch.randn(T + 1, N, 2, 4, 5, generator=random)
    found = F.auxiliary.control_targets(pseudo_rewards, discounts, action_values, valid)
    assert found.shape == pseudo_rewards.shape
    for n, row, column in torch.cartesian_prod(torch.arange(N), torch.arange(2), torch.arange(4)).tolist():
        target = float(action_values[T, n, row, column].max())
        for t in reversed(range(T)):
            if valid[t, n]:
                target = float(pseudo_rewards[t, n, row, column] + discounts[t, n] * target)
            else:
                target = float(action_values[t, n, row, column].max())
            assert float(found[t, n, row, column]) == pytest.approx(target, rel=1e-5)
