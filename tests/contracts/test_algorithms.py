"""What every algorithm must keep, for every memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from asyncrl.algorithms import ALGORITHMS
from asyncrl.algorithms.base import Networks
from asyncrl.networks.assemble import make_network
from asyncrl.optim.hogwild import gradients
from asyncrl.types import EnvironmentInfo, Rollout
from tests.experiments import small

T, B, A = 6, 3, 4
INFO = EnvironmentInfo("x", Box(-1, 1, (5,), np.float32), Discrete(A), 1)
CASES = [(name, memory) for name in ALGORITHMS for memory in ("none", "lstm", "gru")]


def setup(algorithm: str, memory: str) -> tuple[Any, Networks]:
    experiment = small(memory=memory, initialization="torch")
    assert isinstance(experiment.algorithm, ALGORITHMS[algorithm])
    return experiment.algorithm, Networks(make_network(experiment, INFO))


def rollout(networks: Networks, dummies: tuple[tuple[int, int], ...] = (), seed: int = 0) -> Rollout:
    random = torch.Generator().manual_seed(seed)
    valid = torch.ones(T, B, dtype=torch.bool)
    first = torch.zeros(T + 1, B, dtype=torch.bool)
    for t, b in dummies:
        valid[t, b], first[t + 1, b] = False, True
    return Rollout(
        observations=torch.randn(T + 1, B, 5, generator=random),
        actions=torch.randint(A, (T, B), generator=random),
        rewards=torch.randn(T, B, generator=random),
        discounts=torch.full((T, B), 0.9),
        valid=valid,
        first=first,
        state=networks.online.initial_state(B),
    )


def loss_and_gradient(algorithm: Any, networks: Networks, data: Rollout) -> tuple[float, torch.Tensor]:
    (experience,) = algorithm.experience(data, algorithm.make_memory(), torch.Generator())
    loss = algorithm.loss(networks, experience).total
    return float(loss.detach()), gradients(loss, networks.online)


@pytest.mark.parametrize(("name", "memory"), CASES)
def test_finite_repeatable_and_the_gradient_reaches_every_parameter(name: str, memory: str) -> None:
    algorithm, networks = setup(name, memory)
    data = rollout(networks, dummies=((3, 1),))
    loss, gradient = loss_and_gradient(algorithm, networks, data)
    again, same = loss_and_gradient(algorithm, networks, data)
    assert np.isfinite(loss)
    assert loss == again
    assert torch.equal(gradient, same)
    sizes = [parameter.numel() for parameter in networks.online.parameters()]
    parts = dict(zip(dict(networks.online.named_parameters()), gradient.split(sizes), strict=True))  # type: ignore[no-untyped-call]
    assert [key for key, part in parts.items() if not part.any()] == []


@pytest.mark.parametrize(("name", "memory"), CASES)
def test_permuting_environments_leaves_the_loss_unchanged(name: str, memory: str) -> None:
    algorithm, networks = setup(name, memory)
    data = rollout(networks, dummies=((2, 0), (4, 2)))
    order = torch.tensor([2, 0, 1])
    fields = ("observations", "actions", "rewards", "discounts", "valid", "first")
    shuffled = Rollout(**{f: getattr(data, f)[:, order] for f in fields}, state=data.state)
    one, two = loss_and_gradient(algorithm, networks, data), loss_and_gradient(algorithm, networks, shuffled)
    assert one[0] == pytest.approx(two[0], rel=1e-5)
    torch.testing.assert_close(one[1], two[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "memory"), CASES)
def test_what_a_dummy_step_holds_does_not_matter(name: str, memory: str) -> None:
    algorithm, networks = setup(name, memory)
    data = rollout(networks, dummies=((3, 1),))
    before = loss_and_gradient(algorithm, networks, data)
    data.rewards[3, 1], data.actions[3, 1], data.discounts[3, 1] = 1e3, (data.actions[3, 1] + 1) % A, 0.0
    after = loss_and_gradient(algorithm, networks, data)
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize(("name", "memory"), CASES)
def test_acting_fits_the_action_space(name: str, memory: str) -> None:
    algorithm, networks = setup(name, memory)
    network = networks.online
    outputs, _ = network(torch.randn(1, 50, 5), network.initial_state(50), torch.ones(1, 50, dtype=torch.bool))
    drawn = algorithm.act(network, outputs, torch.Generator().manual_seed(0))
    best = algorithm.act_greedily(network, outputs)
    assert drawn.shape == best.shape == (1, 50)
    assert set(drawn.unique().tolist()) == set(range(A))  # an untrained agent tries everything
    assert torch.equal(best, outputs["policy"].argmax(-1))


def test_a3c_loss_equals_the_papers_sum() -> None:
    # one environment, no end of an episode: the literal sum of Algorithm S3 with §4's entropy term
    algorithm, networks = setup("a3c", "none")
    data = rollout(networks)
    network = networks.online
    outputs, _ = network(data.observations, (), data.first)
    values = outputs["value"].detach()
    total = 0.0
    for b in range(B):
        for t in range(T):
            ret = sum(0.9 ** (k - t) * float(data.rewards[k, b]) for k in range(t, T)) + 0.9 ** (T - t) * float(
                values[T, b]
            )
            pi = torch.softmax(outputs["policy"][t, b], -1).detach()
            log_pi = float(pi[data.actions[t, b]].log())
            entropy = -float((pi * pi.log()).sum())
            advantage = ret - float(values[t, b])
            total += -log_pi * advantage - algorithm.entropy_weight * entropy + algorithm.value_weight * advantage**2
    loss, _ = loss_and_gradient(algorithm, networks, data)
    assert loss == pytest.approx(total / B, rel=1e-4)
