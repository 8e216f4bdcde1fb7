"""ACER's gradient on policy, against finite differences, and what its switches change."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import pytest
import torch

from asyncrl.algorithms.acer import ACER
from asyncrl.algorithms.base import reduce
from asyncrl.algorithms.critics import criticise, ratios_of
from asyncrl.networks.heads import PolicyHead
from asyncrl.networks.stochastic_dueling import AdvantageHead
from asyncrl.optim.hogwild import gradients
from tests.contracts.test_acer_pseudo_code import experience_of
from tests.contracts.test_algorithms import B, T, loss_and_gradient, rollout, setup


@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_on_policy_without_truncation_it_is_the_policy_gradient(actions: str) -> None:
    settings = {
        "truncation": math.inf,
        "trust_region": False,
        "replay_ratio": 0.0,
        "entropy_weight": 0.0,
        "value_weight": 0.0,
    }
    algorithm, networks, item = experience_of(actions, settings)
    outputs = networks.online(item.rollout.observations, (), item.rollout.first)[0]
    data = dataclasses.replace(item.rollout, behaviour={"policy": outputs["policy"][:-1].detach()})
    values = outputs["value" if actions == "box" else "q"].detach()
    head = cast(PolicyHead, networks.online.heads["policy"])
    if actions == "discrete":
        taken = values[:-1].gather(-1, data.actions.unsqueeze(-1)).squeeze(-1)
        values = (outputs["policy"].detach().softmax(-1) * values).sum(-1)
    else:
        dueling = cast(AdvantageHead, networks.online.heads["advantage"])
        hidden = outputs["advantage"][:-1].detach()
        drawn_actions = head.sample_from(outputs["policy"][:-1].detach(), item.noise[:-1])
        means = dueling.advantage(hidden, drawn_actions).mean(0)
        taken = (values[:-1] + dueling.advantage(hidden, data.actions) - means).detach()
    total = torch.zeros(())
    for b in range(B):
        q_ret = values[T, b]
        for t in reversed(range(T)):
            if not data.valid[t, b]:
                q_ret = values[t, b]
                continue
            q_ret = data.rewards[t, b] + data.discounts[t, b] * q_ret
            log_probability = head.log_probability(outputs["policy"][t, b], data.actions[t, b])
            total = total - log_probability * (q_ret - values[t, b])
            q_ret = q_ret - taken[t, b] + values[t, b]
    expected = gradients(total / B, networks.online)
    found = gradients(algorithm.loss(networks, dataclasses.replace(item, rollout=data)).total, networks.online)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_the_gradient_of_the_policy_is_that_of_finite_differences(actions: str) -> None:
    # of Σ min(c, ρ) A log π(a) + β H, in which weights and advantages are constants
    settings = {"trust_region": False, "bias_correction": False, "value_weight": 0.0, "entropy_weight": 0.1}
    algorithm, networks, item = experience_of(actions, {**settings, "activation": "tanh"})  # ReLU has kinks
    data, head = item.rollout, cast(PolicyHead, networks.online.heads["policy"])
    found = gradients(algorithm.loss(networks, item).total, networks.online)
    with torch.no_grad():
        outputs = networks.online.unroll(data)
        criticism = criticise(networks.online, outputs, item)
        ratios = ratios_of(head, outputs["policy"][:-1], data, data.actions)
        returns = algorithm._targets(data, criticism, ratios)[1]
        weights = ratios.clamp(max=algorithm.truncation) * (returns - criticism.values[:-1])
        parameters = list(networks.online.parameters())
        sizes = [parameter.numel() for parameter in parameters]
        step = 0.003 * torch.randn(sum(sizes), generator=torch.Generator().manual_seed(0))

        def gain(factor: float) -> float:
            for parameter, part in zip(parameters, step.split(sizes), strict=True):  # type: ignore[no-untyped-call]
                parameter += factor * part.view_as(parameter)
            policy = networks.online.unroll(data)["policy"][:-1]
            total = weights * head.log_probability(policy, data.actions) + 0.1 * head.entropy(policy)
            return float(reduce(total, data.valid))

        difference = (-gain(-1.0) + gain(2.0)) / 2  # from θ - d to θ + d
    assert difference == pytest.approx(-float(found @ step), rel=0.002)


@pytest.mark.parametrize("switch", ["bias_correction", "retrace", "trust_region"])
@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_every_switch_changes_the_gradient(switch: str, actions: str) -> None:
    settings = {"truncation": 1.0, "trust_region_limit": 0.0}
    algorithm, networks, item = experience_of(actions, settings)
    other = dataclasses.replace(algorithm, **{switch: False})
    without = dataclasses.replace(networks, target=None) if switch == "trust_region" else networks
    one = gradients(algorithm.loss(networks, item).total, networks.online)
    two = gradients(other.loss(without, item).total, networks.online)
    assert not torch.allclose(one, two, rtol=1e-3)


def test_only_the_trust_region_needs_an_average_network() -> None:
    assert ACER(trust_region=False).target_update is None
    algorithm, networks = setup("acer", "discrete", "none", {"rollout_length": T, "trust_region": False})
    assert networks.target is None
    loss_and_gradient(algorithm, networks, rollout(networks))
