"""Learning about a policy π from the actions of another policy μ: importance ratios, returns, and a trust region.

A ratio is ρ = π(a|s) / μ(a|s) for an action a. Ratios, weights and targets are detached: they are constants for the
losses that use them.
"""

import torch
from torch import Tensor


def importance_ratios(log_probabilities: Tensor, behaviour_log_probabilities: Tensor) -> Tensor:
    """Calculates ρ = π(a) / μ(a) [...] from log π(a) [...] and log μ(a) [...]."""
    return (log_probabilities.detach() - behaviour_log_probabilities.detach()).exp()


def truncated_weights(ratios: Tensor, limit: float) -> Tensor:
    """Calculates min(c, ρ) [...], the weights of actions that μ took (Wang et al. 2017, §3.2).

    Their variance is bounded. What the truncation leaves out is in `correction_weights`: for every function f of
    actions, E_μ[min(c, ρ) f] + E_π[[1 - c/ρ]₊ f] = E_π[f].

    Args:
        ratios: ρ [...].
        limit: c.
    """
    return ratios.clamp(max=limit)


def correction_weights(ratios: Tensor, limit: float) -> Tensor:
    """Calculates [1 - c/ρ]₊ [...], the weights of actions drawn from π that correct the truncation (§3.2).

    They are below 1, and 0 where ρ ≤ c.

    Args:
        ratios: ρ [...] of these actions.
        limit: c.
    """
    return torch.where(ratios > limit, 1 - limit / ratios, 0.0)


def retrace(
    rewards: Tensor, discounts: Tensor, values: Tensor, action_values: Tensor, traces: Tensor, valid: Tensor
) -> Tensor:
    """Calculates the Retrace targets of action values (Munos et al. 2016; Wang et al. 2017, §3.1).

    Q_t = r_t + discount_t · U_{t+1}, where U_t = V(s_t) + c_t (Q_t - Q(s_t, a_t)) if step t is `valid`, else V(s_t),
    and U_T = V(s_T). Retrace(λ) has c_t = λ min(1, ρ_t). Traces of 1 give the targets without importance weights that
    Wang et al. call Q_opc, after Q(λ) with off-policy corrections (Harutyunyan et al. 2016). Traces of 0 give one-step
    targets.

    Args:
        rewards: r_t [T, B].
        discounts: γ, or 0 after a terminal state [T, B].
        values: V(s_t) = E_π[Q(s_t, a)] [T+1, B].
        action_values: Q(s_t, a_t) of the actions taken [T, B].
        traces: c_t [T, B].
        valid: Bool [T, B], false on the dummy step after an episode's end.

    Returns:
        Q_t [T, B], detached.
    """
    values, action_values = values.detach(), action_values.detach()
    targets = torch.empty_like(rewards)
    following = values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        targets[t] = rewards[t] + discounts[t] * following
        corrected = values[t] + traces[t] * (targets[t] - action_values[t])
        following = torch.where(valid[t], corrected, values[t])
    return targets


def v_trace(
    rewards: Tensor, discounts: Tensor, values: Tensor, ratios: Tensor, valid: Tensor, rho: float = 1.0, c: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Calculates V-trace targets of state values, and advantages (Espeholt et al. 2018, eq. 1 and §4.2).

    v_t = V(s_t) + min(ρ̄, ρ_t) δ_t + discount_t min(c̄, ρ_t) (v_{t+1} - V(s_{t+1})), where
    δ_t = r_t + discount_t V(s_{t+1}) - V(s_t). On policy, with ρ̄ and c̄ of at least 1, these are n-step returns.

    Args:
        rewards: r_t [T, B].
        discounts: γ, or 0 after a terminal state [T, B].
        values: V(s_t) [T+1, B].
        ratios: ρ_t of the actions taken [T, B].
        valid: Bool [T, B], false on the dummy step after an episode's end.
        rho: ρ̄, which decides what policy the values belong to: infinity stands for π.
        c: c̄, which decides how far a surprise is carried back.

    Returns:
        v_t [T, B], which is V(s_t) on dummy steps, and min(ρ̄, ρ_t) (r_t + discount_t v_{t+1} - V(s_t)) [T, B], by which
        the gradient of log π(a_t|s_t) is weighted. Both are detached.
    """
    values = values.detach()
    weights, traces = ratios.clamp(max=rho), ratios.clamp(max=c)
    targets, advantages = torch.empty_like(rewards), torch.empty_like(rewards)
    following = values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        error = rewards[t] + discounts[t] * values[t + 1] - values[t]
        surprise = weights[t] * error + discounts[t] * traces[t] * (following - values[t + 1])
        advantages[t] = weights[t] * (rewards[t] + discounts[t] * following - values[t])
        following = torch.where(valid[t], values[t] + surprise, values[t])
        targets[t] = following
    return targets, advantages


def trust_region(gradients: Tensor, divergence_gradients: Tensor, limit: float) -> Tensor:
    """Makes policy gradients raise the divergence by at most δ, to first order (Wang et al. 2017, §3.3).

    z* = argmin_z ½ |g - z|² subject to kᵀz ≤ δ is g - max(0, (kᵀg - δ) / |k|²) k.

    Args:
        gradients: g [..., S], by the S statistics of the policy.
        divergence_gradients: k [..., S], the gradient of KL(average policy || policy) by the same statistics.
        limit: δ, at least 0.

    Returns:
        z* [..., S].
    """
    excess = (divergence_gradients * gradients).sum(-1, keepdim=True) - limit
    square = divergence_gradients.square().sum(-1, keepdim=True)
    # where k is 0, the excess is not positive, and g is kept
    return gradients - excess.clamp(min=0) / square.clamp(min=torch.finfo(square.dtype).tiny) * divergence_gradients
