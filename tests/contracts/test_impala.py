"""IMPALA's loss: A3C's where the policy is still the one that acted, and V-trace's where it has moved."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from asyncrl import functional as F
from asyncrl.errors import UserError
from asyncrl.networks.assemble import Networks
from asyncrl.types import Progress, Rollout, WorkerInfo
from tests.contracts.test_algorithms import INFO, B, loss_and_gradient, rollout, setup

DUMMIES = ((3, 1),)


def acted(networks: Networks, actions: str = "discrete") -> Rollout:
    """A rollout with the policies that acted, which are those of the present parameters."""
    data = rollout(networks, actions, dummies=DUMMIES)
    with torch.no_grad():
        policy = networks.online.unroll(data)["policy"][:-1].clone()
    return dataclasses.replace(data, behaviour={"policy": policy})


@pytest.mark.parametrize("memory", ["none", "lstm"])
@pytest.mark.parametrize("actions", ["discrete", "multi-discrete", "box"])
def test_on_policy_it_is_a3c(actions: str, memory: str) -> None:
    impala, networks = setup("impala", actions, memory, {"epochs": 1, "entropy_weight": 0.02})
    a3c, _ = setup("a3c", actions, memory, {"entropy_weight": 0.02})
    data = acted(networks, actions)
    one, two = loss_and_gradient(impala, networks, data), loss_and_gradient(a3c, networks, data)
    assert one[0] == pytest.approx(two[0], rel=1e-4)
    torch.testing.assert_close(one[1], two[1], rtol=1e-4, atol=1e-5)


def test_off_policy_the_loss_equals_the_papers_sums() -> None:
    settings = {"rho_limit": 1.2, "trace_limit": 0.9, "entropy_weight": 0.01, "value_weight": 0.7}
    algorithm, networks = setup("impala", "discrete", "none", {**settings, "epochs": 1})
    data = acted(networks)
    with torch.no_grad():
        for parameter in networks.online.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    outputs = networks.online(data.observations, (), data.first)[0]
    policy, values = torch.softmax(outputs["policy"].detach(), -1), outputs["value"].detach()
    before = torch.softmax(data.behaviour["policy"], -1)
    actions = data.actions.unsqueeze(-1)
    chosen = policy[:-1].gather(-1, actions).squeeze(-1)
    ratios = chosen / before.gather(-1, actions).squeeze(-1)
    assert (ratios > 1.2).any()
    assert (ratios < 0.9).any()
    targets, advantages = F.off_policy.v_trace(
        data.rewards, data.discounts, values, ratios, data.valid, rho=1.2, c=0.9
    )  # compared with the paper's equations in the tests of functional/
    total = 0.0
    for t, b in data.valid.nonzero().tolist():
        entropy = -float((policy[t, b] * policy[t, b].log()).sum())
        error = float(targets[t, b] - values[t, b])
        total += -float(chosen[t, b].log() * advantages[t, b]) - 0.01 * entropy + 0.7 * error**2
    loss, _ = loss_and_gradient(algorithm, networks, data)
    assert loss == pytest.approx(total / B, rel=1e-4)


def test_every_rollout_is_learned_in_each_epoch() -> None:
    algorithm, networks = setup("impala", "discrete", "none", {"epochs": 3})
    memory = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1))
    data = acted(networks)
    memory.add(data)
    assert [part is data for part in memory.draw(networks, torch.Generator(), Progress(0, 1))] == [True] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "--epochs must be at least 1, not 0"),
        ({"rho_limit": 0.5}, "--rho-limit must not be smaller"),
        ({"trace_limit": 0.0}, "--trace-limit must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        setup("impala", "discrete", "none", settings)
