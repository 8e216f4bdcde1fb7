"""Losses and the categorical distribution: values and gradients against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from asyncrl.functional import (
    categorical,
    exploration,
    gaussian,
    masking,
    moments,
    policy_gradient,
    schedules,
    value_learning,
)


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


def test_huber_error_is_the_squared_one_with_a_clipped_gradient() -> None:
    values, targets = torch.tensor([0.0, 0.0, 0.0, 0.0], requires_grad=True), torch.tensor([0.5, -1.0, 3.0, -4.0])
    loss = value_learning.huber_error(values, targets)
    assert loss.tolist() == [0.25, 1.0, 5.0, 7.0]  # δ² up to 1, then 2|δ| - 1
    (gradient,) = torch.autograd.grad(loss.sum() / 2, [values])
    assert gradient.tolist() == [-0.5, 1.0, -1.0, 1.0]  # -δ, clipped to ±1


def test_squared_error_and_its_gradient() -> None:
    values, targets = torch.tensor([1.0], requires_grad=True), torch.tensor([3.0], requires_grad=True)
    loss = value_learning.squared_error(values, targets)
    gradient, through_target = torch.autograd.grad(loss.sum(), [values, targets], allow_unused=True)
    assert loss.item() == 4.0
    assert gradient.item() == -4.0  # d(3 - v)²/dv = -2 (3 - v)
    assert through_target is None


def test_implied_action_values_are_those_of_the_formula() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, generator=random, requires_grad=True)
    values = torch.randn(2, 3, dtype=torch.float64, generator=random, requires_grad=True)

    def implied(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        entropies = categorical.entropy(logits).unsqueeze(-1)
        return value_learning.implied_action_values(logits.log_softmax(-1), entropies, values.unsqueeze(-1), 0.3)

    found = implied(logits, values)
    for t in range(2):
        for b in range(3):
            policy = [math.exp(logit) for logit in logits[t, b].tolist()]
            policy = [p / sum(policy) for p in policy]
            entropy = -sum(p * math.log(p) for p in policy)
            for a in range(4):
                expected = 0.3 * (math.log(policy[a]) + entropy) + values[t, b].item()
                assert found[t, b, a].item() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close((logits.softmax(-1) * found).sum(-1), values)  # the mean over the policy is V
    assert torch.autograd.gradcheck(implied, [logits, values])


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


def test_gaussian_equals_torchs() -> None:
    random = torch.Generator().manual_seed(0)
    mean, variance = torch.randn(4, 3, 2, generator=random), torch.rand(4, 3, generator=random) + 0.1
    reference = torch.distributions.Normal(mean, variance.sqrt().unsqueeze(-1))
    actions = torch.randn(4, 3, 2, generator=random)
    torch.testing.assert_close(gaussian.log_probability(mean, variance, actions), reference.log_prob(actions).sum(-1))
    torch.testing.assert_close(gaussian.entropy(variance, 2), reference.entropy().sum(-1))


def test_gaussian_samples_have_their_mean_and_variance() -> None:
    random = torch.Generator().manual_seed(0)
    drawn = gaussian.sample(torch.tensor([1.0, -2.0]).expand(50_000, 2), torch.full((50_000,), 0.25), random)
    assert drawn.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.01)
    assert drawn.var(0).tolist() == pytest.approx([0.25, 0.25], abs=0.01)


def test_differential_entropy_rises_with_the_variance_so_that_a_bonus_widens_the_policy() -> None:
    # the paper writes the cost -1/2 (log 2πσ² + 1): minus the entropy, to be minimised
    variance = torch.tensor(0.01, requires_grad=True)
    entropy = gaussian.entropy(variance, 1)
    assert float(entropy.detach()) == pytest.approx(0.5 * (math.log(2 * math.pi * 0.01) + 1))
    assert float(entropy.detach()) < 0  # a density may have a negative one
    (gradient,) = torch.autograd.grad(-entropy, [variance])
    assert float(gradient) < 0  # descending on the cost makes the variance larger


def test_epsilon_greedy() -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.tensor([0.0, 3.0, 1.0, 2.0]).expand(20_000, 2, 4)
    actions = exploration.epsilon_greedy(values, torch.tensor([0.0, 0.4]), random)
    assert (actions[:, 0] == 1).all()
    counts = torch.bincount(actions[:, 1], minlength=4) / 20_000
    assert counts.tolist() == pytest.approx([0.1, 0.7, 0.1, 0.1], abs=0.01)


def test_a_masked_distribution_is_that_over_the_allowed_actions() -> None:
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(50, 5, generator=random, dtype=torch.float64)
    mask = (torch.rand(50, 5, generator=random) < 0.5).to(torch.int8)
    mask[torch.arange(50), torch.randint(5, (50,), generator=random)] = 1
    leaf = logits.clone().requires_grad_()
    found = masking.masked(leaf, mask)
    entropies = categorical.entropy(found)
    (gradient,) = torch.autograd.grad(entropies.sum(), leaf, retain_graph=True)
    assert torch.isfinite(gradient).all()
    assert not gradient[mask == 0].any()
    for row in range(50):
        allowed = [a for a in range(5) if mask[row, a]]
        total = sum(math.exp(logits[row, a]) for a in allowed)
        probabilities = {a: math.exp(logits[row, a]) / total for a in allowed}
        assert entropies[row].item() == pytest.approx(-sum(p * math.log(p) for p in probabilities.values()), abs=1e-12)
        for a in range(5):
            if a in allowed:
                found_log = categorical.log_probability(found[row], torch.tensor(a)).item()
                assert found_log == pytest.approx(math.log(probabilities[a]))
            else:
                assert torch.softmax(found[row], -1)[a] == 0


def test_masked_actions_are_neither_drawn_nor_best() -> None:
    random = torch.Generator().manual_seed(0)
    logits = masking.masked(torch.tensor([50.0, 0.0, 0.0, 0.0]), torch.tensor([0, 1, 1, 0])).expand(20_000, 4)
    draws = categorical.sample(logits, random)
    assert set(draws.tolist()) == {1, 2}
    assert float((draws == 1).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert categorical.mode(masking.masked(torch.tensor([50.0, 0.0, -1e30]), torch.tensor([0, 0, 1]))).item() == 2


def test_epsilon_greedy_draws_among_the_allowed_actions() -> None:
    values = masking.masked(torch.tensor([9.0, 3.0, 1.0, -2.0]), torch.tensor([0, 1, 1, 1])).expand(20_000, 2, 4)
    actions = exploration.epsilon_greedy(values, torch.tensor([0.0, 0.6]), torch.Generator().manual_seed(0))
    assert (actions[:, 0] == 1).all()
    counts = torch.bincount(actions[:, 1], minlength=4) / 20_000
    assert counts[0] == 0
    assert counts.tolist() == pytest.approx([0.0, 0.6, 0.2, 0.2], abs=0.01)


def test_a_persistent_random_action_lasts_and_the_share_of_random_actions_is_epsilon() -> None:
    random, persistence, steps = torch.Generator().manual_seed(0), 0.8, 2000
    epsilon = torch.tensor([0.0, 0.2, 1.0])
    values = torch.tensor([0.0, 3.0, 1.0, 2.0]).expand(50, 3, 4)
    repeated = torch.full((50, 3), exploration.NOTHING)
    history = []
    for _ in range(steps):
        actions, repeated = exploration.persistent_epsilon_greedy(values, epsilon, repeated, persistence, random)
        assert torch.equal(actions, torch.where(repeated == exploration.NOTHING, 1, repeated))
        history.append(repeated)
    explored = torch.stack(history)  # [steps, 50, 3]
    is_random = explored != exploration.NOTHING
    assert is_random.float().mean((0, 1)).tolist() == pytest.approx([0.0, 0.2, 1.0], abs=0.01)
    kept = (explored[1:] == explored[:-1])[is_random[:-1]].float().mean()
    after_random = is_random[1:, :, 1][is_random[:-1, :, 1]].float().mean()  # where ε is 0.2
    begins = 0.2 * (1 - persistence) / (1 - 0.2 * persistence)
    assert float(after_random) == pytest.approx(persistence + (1 - persistence) * begins, abs=0.01)
    assert float(kept) > persistence
    shares = torch.bincount(explored[:, :, 2].flatten(), minlength=4) / (steps * 50)
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.02)


def test_a_random_action_is_not_repeated_where_it_is_forbidden() -> None:
    random = torch.Generator().manual_seed(0)
    values = masking.masked(torch.tensor([9.0, 3.0, 1.0]), torch.tensor([0, 1, 1])).expand(2000, 3)
    repeated = torch.zeros(2000, dtype=torch.int64)
    actions, repeated = exploration.persistent_epsilon_greedy(values, torch.tensor(0.5), repeated, 0.9, random)
    assert set(actions.tolist()) == {1, 2}
    assert set(repeated.tolist()) == {exploration.NOTHING, 1, 2}


def test_correlated_noise_is_standard_normal_and_correlated() -> None:
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(50_000, generator=random)
    for _ in range(3):
        before, noise = noise, exploration.correlated_noise(noise, 0.7, random)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(noise.var()) == pytest.approx(1.0, abs=0.02)
    assert float((noise * before).mean()) == pytest.approx(0.7, abs=0.02)


def test_actions_that_noise_selects_follow_the_distribution() -> None:
    noise = torch.randn(60_000, generator=torch.Generator().manual_seed(0))
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    selected = categorical.sample_from(probabilities.log().expand(60_000, 3), noise)
    assert (torch.bincount(selected, minlength=3) / 60_000).tolist() == pytest.approx([0.1, 0.2, 0.7], abs=0.01)
    masked = masking.masked(torch.zeros(2, 4), torch.tensor([0, 1, 1, 0]))
    assert categorical.sample_from(masked, torch.tensor([-40.0, 40.0])).tolist() == [1, 2]
    drawn = gaussian.sample_from(torch.full((60_000, 1), -2.0), torch.full((60_000,), 0.25), noise.unsqueeze(-1))
    assert (float(drawn.mean()), float(drawn.var())) == pytest.approx((-2.0, 0.25), abs=0.01)


def test_one_step_targets_and_taken_values() -> None:
    rewards, discounts = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.9], [0.0]])
    targets = value_learning.one_step_targets(rewards, discounts, torch.tensor([[10.0], [1000.0]]))
    assert targets.tolist() == [[10.0], [2.0]]
    assert value_learning.taken(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0])).tolist() == [2.0, 3.0]


def test_moments_of_parts_are_those_of_the_whole() -> None:
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(1000, 3, generator=random) * torch.tensor([1.0, 100.0, 1e-3]) + 1e4
    nothing = moments.Moments(torch.zeros((), dtype=torch.float64), torch.zeros(3).double(), torch.zeros(3).double())
    total = nothing
    for part in (vectors[:1], vectors[1:10], vectors[10:700], vectors[700:]):
        total = total + moments.moments_of(part)
    assert float(total.count) == 1000
    torch.testing.assert_close(total.mean, vectors.double().mean(0))
    torch.testing.assert_close(total.deviation, vectors.double().std(0, correction=0), rtol=1e-6, atol=1e-9)
    assert (nothing + nothing).deviation.tolist() == [1, 1, 1]
    torch.testing.assert_close((nothing + total).mean, total.mean)


def test_a_probability_that_has_moved_far_enough_gets_no_gradient() -> None:
    ratios = torch.tensor([0.5, 0.5, 1.0, 1.0, 1.5, 1.5], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    loss = policy_gradient.clipped_surrogate(ratios, advantages, 0.2)
    assert loss.tolist() == pytest.approx([-0.5, 0.8, -1.0, 1.0, -1.2, 1.5])
    (gradient,) = torch.autograd.grad(loss.sum(), [ratios])
    assert gradient.tolist() == [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]


def test_advantages_are_normalised_over_valid_steps() -> None:
    advantages, valid = torch.tensor([[1.0, 5.0], [3.0, 1e6]]), torch.tensor([[True, True], [True, False]])
    found = policy_gradient.normalized(advantages, valid)
    assert found[valid].tolist() == pytest.approx([-1.0, 1.0, 0.0])
    assert policy_gradient.normalized(advantages[:1, :1], valid[:1, :1]).tolist() == [[1.0]]
