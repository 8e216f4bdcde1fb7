"""Off-policy returns, weights and the trust region against slow transcriptions of their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from asyncrl.functional import categorical, gaussian, off_policy, returns

T, B = 9, 4


def sequence(seed: int = 0) -> dict[str, Tensor]:
    """A sequence in which episodes end in both ways, each end followed by a dummy step with nonsense in it."""
    random = torch.Generator().manual_seed(seed)
    drawn = {
        name: torch.randn(length, B, generator=random, dtype=torch.float64)
        for name, length in (("rewards", T), ("values", T + 1), ("action_values", T))
    }
    discounts = torch.full((T, B), 0.9, dtype=torch.float64)
    valid = torch.ones(T, B, dtype=torch.bool)
    discounts[2, 0] = 0.0  # a terminal state
    for t, b in ((3, 0), (5, 1), (0, 2)):  # what comes after it, and after two truncations
        valid[t, b] = False
        drawn["rewards"][t, b], discounts[t, b] = 1e3, 0.5
    ratios = torch.exp(torch.randn(T, B, generator=random, dtype=torch.float64))
    return {**drawn, "discounts": discounts, "valid": valid, "ratios": ratios}


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_retrace_is_the_sum_over_corrected_errors(decay: float) -> None:
    # Munos et al. 2016, eq. 3: Q(x, a) + Σ_t γ^t (Π c_s) (r_t + γ E_π Q(x_{t+1}, ·) - Q(x_t, a_t)), c = λ min(1, ρ)
    data = sequence()
    ratios = data.pop("ratios")
    traces = decay * ratios.clamp(max=1)
    found = off_policy.retrace(**data, traces=traces)
    rewards, discounts, values, taken, valid = (
        data[name].numpy() for name in ("rewards", "discounts", "values", "action_values", "valid")
    )
    for b in range(B):
        for t in range(T):
            if not valid[t, b]:
                continue
            total, factor, s = taken[t, b], 1.0, t
            while s < T and valid[s, b]:
                if s > t:
                    factor *= discounts[s - 1, b] * float(traces[s, b])
                total += factor * (rewards[s, b] + discounts[s, b] * values[s + 1, b] - taken[s, b])
                s += 1
            assert float(found[t, b]) == pytest.approx(total, rel=1e-10)


def test_retrace_without_weights_corrects_by_the_difference_of_value_and_action_value() -> None:
    # the recursion of Algorithm 3 in Wang et al. 2017: Q_opc ← r + γ Q_opc; Q_opc ← Q_opc - Q(x, a) + V(x)
    data = sequence()
    ratios = data.pop("ratios")
    found = off_policy.retrace(**data, traces=torch.ones_like(ratios))
    b, total = 3, float(data["values"][T, 3])  # an environment without an end
    for t in reversed(range(T)):
        total = float(data["rewards"][t, b]) + 0.9 * total
        assert float(found[t, b]) == pytest.approx(total, rel=1e-10)
        total = total - float(data["action_values"][t, b]) + float(data["values"][t, b])


def test_retrace_on_policy_with_the_values_themselves_is_the_n_step_return() -> None:
    data = sequence()
    ratios = data.pop("ratios")
    data["action_values"] = data["values"][:-1]
    n_step = returns.n_step_returns(data["rewards"], data["discounts"], data["values"], data["valid"])
    found = off_policy.retrace(**data, traces=torch.ones_like(ratios))
    valid = data["valid"]
    torch.testing.assert_close(found[valid], n_step[valid])


@pytest.mark.parametrize(("rho", "c"), [(1.0, 1.0), (2.0, 0.5), (math.inf, math.inf)])
def test_v_trace_is_the_papers_sum(rho: float, c: float) -> None:
    # Espeholt et al. 2018, eq. 1, and the advantages of §4.2
    data = sequence(1)
    del data["action_values"]
    found, advantages = off_policy.v_trace(**data, rho=rho, c=c)
    rewards, discounts, values, ratios, valid = (
        data[name].numpy() for name in ("rewards", "discounts", "values", "ratios", "valid")
    )

    def target(t: int, b: int) -> float:
        total, factor, s = values[t, b], 1.0, t
        while s < T and valid[s, b]:
            if s > t:
                factor *= discounts[s - 1, b] * min(c, ratios[s - 1, b])
            error = rewards[s, b] + discounts[s, b] * values[s + 1, b] - values[s, b]
            total += factor * min(rho, ratios[s, b]) * error
            s += 1
        return float(total)

    for b in range(B):
        for t in range(T):
            assert float(found[t, b]) == pytest.approx(target(t, b), rel=1e-10)
            if valid[t, b]:
                after = target(t + 1, b) if t + 1 < T else values[T, b]
                advantage = min(rho, ratios[t, b]) * (rewards[t, b] + discounts[t, b] * after - values[t, b])
                assert float(advantages[t, b]) == pytest.approx(advantage, rel=1e-10)


def test_v_trace_on_policy_is_the_n_step_return() -> None:
    data = sequence(2)
    n_step = returns.n_step_returns(data["rewards"], data["discounts"], data["values"], data["valid"])
    del data["action_values"]
    found, _ = off_policy.v_trace(**{**data, "ratios": torch.ones(T, B, dtype=torch.float64)})
    torch.testing.assert_close(found, n_step)


@pytest.mark.parametrize("limit", [0.5, 1.0, 3.0, math.inf])
def test_truncated_weights_and_their_correction_leave_no_bias(limit: float) -> None:
    random = torch.Generator().manual_seed(0)
    target, behaviour = (2 * torch.randn(50, 6, generator=random, dtype=torch.float64) for _ in range(2))
    pi, mu = target.softmax(-1), behaviour.softmax(-1)
    actions = torch.arange(6).expand(50, 6)
    ratios = off_policy.importance_ratios(
        *(categorical.log_probability(logits.unsqueeze(1).expand(50, 6, 6), actions) for logits in (target, behaviour))
    )
    torch.testing.assert_close(ratios, pi / mu)
    function = torch.randn(50, 6, generator=random, dtype=torch.float64)
    weights, corrections = (
        make(ratios, limit) for make in (off_policy.truncated_weights, off_policy.correction_weights)
    )
    mean = (mu * weights * function).sum(-1) + (pi * corrections * function).sum(-1)
    torch.testing.assert_close(mean, (pi * function).sum(-1))
    assert float(weights.max()) <= limit
    assert 0 <= float(corrections.min()) <= float(corrections.max()) < 1


def test_ratios_beyond_what_floats_hold_have_weights_that_they_hold() -> None:
    ratios = off_policy.importance_ratios(torch.tensor([0.0, -1e6]), torch.tensor([-1e6, 0.0]))
    assert off_policy.truncated_weights(ratios, 10.0).tolist() == [10.0, 0.0]
    assert off_policy.correction_weights(ratios, 10.0).tolist() == [1.0, 0.0]


def test_the_trust_region_solves_its_quadratic_programme() -> None:
    random = np.random.default_rng(0)
    binding = 0
    for _ in range(20):
        g, k, limit = random.normal(size=5), random.normal(size=5), float(random.uniform(0, 2))
        found = off_policy.trust_region(torch.from_numpy(g), torch.from_numpy(k), limit).numpy()
        solution = minimize(
            lambda z, g=g: 0.5 * ((g - z) ** 2).sum(),
            np.zeros(5),
            jac=lambda z, g=g: z - g,
            constraints={"type": "ineq", "fun": lambda z, k=k, limit=limit: limit - k @ z, "jac": lambda z, k=k: -k},
            method="SLSQP",
        )
        assert solution.success
        np.testing.assert_allclose(found, solution.x, atol=1e-5)
        assert k @ found <= limit + 1e-9
        binding += bool(k @ g > limit)
    assert 0 < binding < 20


def test_the_trust_region_leaves_alone_what_does_not_move_away_from_the_average_policy() -> None:
    g = torch.tensor([[1.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    k = torch.tensor([[-5.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    assert off_policy.trust_region(g, k, 0.0).tolist() == [[1.0, 0.0], [1.0, 2.0], [0.0, 1.0]]
    assert off_policy.trust_region(g, k, 6.0).tolist() == g.tolist()


def test_divergences_are_the_means_of_log_ratios() -> None:
    random = torch.Generator().manual_seed(0)
    one, other = (torch.randn(7, 5, generator=random, dtype=torch.float64) for _ in range(2))
    pi = one.softmax(-1)
    expected = (pi * (pi.log() - other.softmax(-1).log())).sum(-1)
    torch.testing.assert_close(categorical.kl_divergence(one, other), expected)
    means, other_means = (torch.randn(7, 3, generator=random, dtype=torch.float64) for _ in range(2))
    variances, other_variances = (torch.rand(7, generator=random, dtype=torch.float64) + 0.3 for _ in range(2))
    normal, other_normal = (
        torch.distributions.Normal(mean, variance.sqrt().unsqueeze(-1).expand_as(mean))
        for mean, variance in ((means, variances), (other_means, other_variances))
    )
    found = gaussian.kl_divergence(means, variances, other_means, other_variances)
    torch.testing.assert_close(found, torch.distributions.kl_divergence(normal, other_normal).sum(-1))
    assert gaussian.kl_divergence(means, variances, means, variances).abs().max() == 0
