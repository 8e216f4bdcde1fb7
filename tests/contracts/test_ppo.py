"""PPO's loss against its formula, and against A3C's gradient where the two must agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from asyncrl.algorithms.actor_critic import policy_of
from asyncrl.errors import UserError
from asyncrl.memory.shuffled import Minibatch
from asyncrl.networks.assemble import Networks
from asyncrl.optim.hogwild import gradients
from asyncrl.types import Progress, Rollout, WorkerInfo
from tests.contracts.test_algorithms import INFO, B, T, loss_and_gradient, rollout, setup

DUMMIES = ((3, 1),)


def drawn(algorithm: Any, networks: Networks, data: Rollout) -> list[Minibatch]:
    memory = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1))
    memory.add(data)
    return list(memory.draw(networks, torch.Generator().manual_seed(0), Progress(0, 1000)))


@pytest.mark.parametrize("memory", ["none", "lstm"])
@pytest.mark.parametrize("actions", ["discrete", "multi-discrete", "box"])
def test_the_first_gradient_is_that_of_a3c(actions: str, memory: str) -> None:
    # before the policy has moved, all ratios are 1 and nothing is clipped
    same = {"gae_lambda": 0.9, "entropy_weight": 0.02}
    one = {"epochs": 1, "minibatches": 1, "normalize_advantages": False}
    ppo, networks = setup("ppo", actions, memory, {**same, **one})
    a3c, _ = setup("a3c", actions, memory, same)
    data = rollout(networks, actions, dummies=DUMMIES)
    (batch,) = drawn(ppo, networks, data)
    gradient = gradients(ppo.loss(networks, batch).total, networks.online)
    _, summed = loss_and_gradient(a3c, networks, data)
    steps = int(data.valid.sum()) if memory == "none" else T * B  # A3C sums over steps, PPO takes the mean
    torch.testing.assert_close(gradient * steps, summed * B, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_the_loss_of_a_moved_policy_equals_the_papers_formula(memory: str) -> None:
    settings = {"epochs": 1, "minibatches": 1, "clip_range": 0.1, "entropy_weight": 0.01, "value_weight": 0.7}
    algorithm, networks = setup("ppo", "discrete", memory, settings)
    data = rollout(networks, dummies=DUMMIES)
    (batch,) = drawn(algorithm, networks, data)
    with torch.no_grad():
        for parameter in networks.online.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    outputs = networks.online(batch.observations, batch.state, batch.first)[0]
    policy, values = outputs["policy"].detach(), outputs["value"].detach()
    advantages = batch.constants["advantages"][batch.valid]
    mean, deviation = float(advantages.mean()), float(advantages.std())

    total, sides = 0.0, set()
    for t, n in batch.valid.nonzero().tolist():
        probabilities = torch.softmax(policy[t, n], -1)
        ratio = float(probabilities[batch.actions[t, n]] / batch.constants["log_probabilities"][t, n].exp())
        advantage = (float(batch.constants["advantages"][t, n]) - mean) / deviation
        bounded = min(max(ratio, 0.9), 1.1)
        sides.add((ratio > 1.1) - (ratio < 0.9))
        entropy = -float((probabilities * probabilities.log()).sum())
        error = float(batch.constants["returns"][t, n] - values[t, n])
        total += -min(ratio * advantage, bounded * advantage) - 0.01 * entropy + 0.7 * error**2
    assert sides == {-1, 0, 1}  # ratios inside of the range and beyond both ends
    loss = algorithm.loss(networks, batch)
    assert float(loss.total.detach()) == pytest.approx(total / batch.valid.numel(), rel=1e-4)


def test_every_epoch_learns_every_step_once() -> None:
    algorithm, networks = setup("ppo", "discrete", "none", {"epochs": 3, "minibatches": 4})
    data = rollout(networks, dummies=DUMMIES)
    parts = drawn(algorithm, networks, data)
    assert len(parts) == 12
    for epoch in range(3):
        rows = torch.cat([part.observations[0] for part in parts[4 * epoch : 4 * epoch + 4]])
        expected = data.observations[:-1][data.valid]
        assert torch.equal(rows.sort(0).values, expected.sort(0).values)
    assert not torch.equal(parts[0].observations, parts[4].observations)  # in another order


def test_sequences_stay_whole_and_keep_their_state() -> None:
    algorithm, networks = setup("ppo", "box", "lstm", {"epochs": 1, "minibatches": 8})
    data = rollout(networks, "box", dummies=DUMMIES)
    parts = drawn(algorithm, networks, data)
    assert len(parts) == B  # no more minibatches than environments
    whole = networks.online.unroll(data)["policy"][:-1]
    log_probabilities = policy_of(networks.online).log_probability(whole, data.actions)
    for part in parts:
        (column,) = (data.observations[:-1] == part.observations).all((0, 2)).nonzero()
        torch.testing.assert_close(part.constants["log_probabilities"], log_probabilities[:, column])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip_range": 0.0}, "--clip-range must lie in"),
        ({"epochs": 0}, "--epochs and --minibatches must be at least 1"),
        ({"minibatches": 0}, "--epochs and --minibatches must be at least 1"),
        ({"gae_lambda": 1.5}, "--gae-lambda must lie in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        setup("ppo", "discrete", "none", settings)
