"""PGQ's losses: A3C's for the newest rollout, and Q-learning on the implied action values for replayed steps."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from asyncrl.algorithms.pgq import PGQ
from asyncrl.errors import UserError
from asyncrl.memory.replay import Replayed
from asyncrl.networks.assemble import Networks
from asyncrl.networks.heads import PolicyHead
from asyncrl.optim.hogwild import gradients
from asyncrl.types import Progress, Rollout, WorkerInfo
from tests.contracts.test_algorithms import ACTIONS, INFO, B, T, loss_and_gradient, rollout, setup

DUMMIES = ((3, 1),)
ALPHA, ETA, VALUE_WEIGHT = 0.2, 0.3, 0.7
SETTINGS: dict[str, Any] = {
    "rollout_length": T,
    "entropy_weight": ALPHA,
    "q_learning_weight": ETA,
    "value_weight": VALUE_WEIGHT,
}


def steps_of(data: Rollout, chosen: list[tuple[int, int]]) -> Rollout:
    """Single steps as a minibatch of transitions."""
    t, b = (torch.tensor(part) for part in zip(*chosen, strict=True))
    return Rollout(
        observations=torch.stack([data.observations[t, b], data.observations[t + 1, b]]),
        actions=data.actions[t, b][None],
        rewards=data.rewards[t, b][None],
        discounts=data.discounts[t, b][None],
        valid=torch.ones(1, len(chosen), dtype=torch.bool),
        first=torch.zeros(2, len(chosen), dtype=torch.bool),
        state=(),
    )


def replayed(data: Rollout) -> Replayed:
    return Replayed(data, torch.ones(data.actions.shape[1]), np.arange(data.actions.shape[1]))


def all_actions(actions: str) -> Tensor:
    """Every action of a space [A, ...]."""
    if actions == "discrete":
        return torch.arange(4)
    return torch.tensor(list(itertools.product(range(2), range(3))))


def papers_surrogate(networks: Networks, data: Rollout, actions: str) -> Tensor:
    """Σ_t -δ (log π(a) + 2 c V) over valid steps, averaged over items, with each δ computed from all actions' Q̃."""
    outputs = networks.online(data.observations, data.state, data.first)[0]
    head = cast(PolicyHead, networks.online.heads["policy"])

    def implied(t: int, n: int) -> Tensor:
        every = all_actions(actions)
        with torch.no_grad():
            log_policy = torch.stack([head.log_probability(outputs["policy"][t, n], action) for action in every])
        entropy = -(log_policy.exp() * log_policy).sum()
        return ALPHA * (log_policy + entropy) + outputs["value"][t, n].detach()

    total = torch.zeros(())
    for t, n in data.valid.nonzero().tolist():
        chosen = (all_actions(actions) == data.actions[t, n]).view(len(all_actions(actions)), -1).all(-1)
        (place,) = chosen.nonzero().squeeze(-1).tolist()
        error = data.rewards[t, n] + data.discounts[t, n] * implied(t + 1, n).max() - implied(t, n)[place]
        log_probability = head.log_probability(outputs["policy"][t, n], data.actions[t, n])
        total = total - error * (log_probability + 2 * VALUE_WEIGHT * outputs["value"][t, n])
    return total / data.actions.shape[1]


@pytest.mark.parametrize("memory", ["none", "lstm"])
@pytest.mark.parametrize("actions", ["discrete", "multi-discrete"])
def test_without_q_learning_it_is_a3c(actions: str, memory: str) -> None:
    pgq, networks = setup("pgq", actions, memory, {**SETTINGS, "q_learning_weight": 0.0})
    a3c, _ = setup("a3c", actions, memory, {"entropy_weight": ALPHA, "value_weight": VALUE_WEIGHT})
    data = rollout(networks, actions, dummies=DUMMIES)
    one, two = loss_and_gradient(pgq, networks, data), loss_and_gradient(a3c, networks, data)
    assert one[0] == two[0]
    assert torch.equal(one[1], two[1])
    both, _ = setup("pgq", actions, memory, SETTINGS)
    torch.testing.assert_close(loss_and_gradient(both, networks, data)[1], (1 - ETA) * two[1])


@pytest.mark.parametrize("actions", ["discrete", "multi-discrete"])
def test_replayed_steps_have_the_papers_gradient(actions: str) -> None:
    algorithm, networks = setup("pgq", actions, "none", SETTINGS)
    data = rollout(networks, actions)
    data.discounts[2, 1] = 0.0
    data = steps_of(data, [(0, 0), (2, 1), (4, 2), (4, 2), (5, 0)])
    found = gradients(algorithm.loss(networks, replayed(data)).total, networks.online)
    expected = gradients(ETA * T * papers_surrogate(networks, data, actions), networks.online)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("actions", ["discrete", "multi-discrete"])
def test_replayed_sequences_have_the_papers_gradient(actions: str) -> None:
    algorithm, networks = setup("pgq", actions, "lstm", SETTINGS)
    data = rollout(networks, actions, dummies=DUMMIES)
    found = gradients(algorithm.loss(networks, replayed(data)).total, networks.online)
    expected = gradients(ETA * papers_surrogate(networks, data, actions), networks.online)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_each_rollout_is_learned_once_and_then_minibatches_are_replayed(memory: str) -> None:
    settings = {**SETTINGS, "replay_start": 2 * T * B, "batch_size": 2, "replay_ratio": 4.0}
    algorithm, networks = setup("pgq", "discrete", memory, settings)
    assert algorithm.learns_before_replay
    mine = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1, recurrent=memory != "none"))
    drawn = []
    for seed in range(3):
        data = rollout(networks, seed=seed)
        mine.add(data)
        first, *rest = mine.draw(networks, torch.Generator(), Progress(0, 1000))
        assert first is data
        drawn.append(rest)
    assert drawn[0] == []
    assert all(isinstance(item, Replayed) for item in drawn[2])
    learned = 2 if memory == "none" else 2 * T
    assert len(drawn[2]) * learned == 4 * T * B
    length = 1 if memory == "none" else T
    assert drawn[2][0].rollout.actions.shape == (length, 2)


def test_without_q_learning_nothing_is_replayed() -> None:
    algorithm, networks = setup("pgq", "discrete", "none", {**SETTINGS, "q_learning_weight": 0.0, "replay_start": 1})
    worker = WorkerInfo(INFO, B, 0, 1)
    mine = algorithm.make_memory(worker)
    data = rollout(networks)
    mine.add(data)
    assert [item is data for item in mine.draw(networks, torch.Generator(), Progress(0, 1))] == [True]
    assert algorithm.memory_bytes(worker) == 0
    assert dataclasses.replace(algorithm, q_learning_weight=0.5).memory_bytes(worker) > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q_learning_weight": 1.0}, r"--q-learning-weight must lie in \[0, 1\), not 1.0: for Q-learning alone take"),
        ({"q_learning_weight": -0.1}, r"--q-learning-weight must lie in \[0, 1\)"),
        ({"entropy_weight": 0.0}, "--entropy-weight must be positive: pgq reads action values from the policy"),
        ({"replay_ratio": 0.0}, "--replay-ratio must be positive, not 0.0: to replay nothing take --algorithm a3c"),
        ({"batch_size": 0}, "--batch-size must be at least 1, not 0"),
        ({"replay_capacity": 10, "replay_start": 20}, "--replay-start 20 never comes with --replay-capacity 10"),
        ({"replay_capacity": 10, "replay_start": 5, "batch_size": 11}, "--batch-size 11 is larger than"),
        ({"rollout_length": 0}, "--rollout-length must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PGQ(**settings)


def test_continuous_actions_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"pgq needs Discrete or MultiDiscrete actions, not Box.*: take --algorithm ppo"
    ):
        PGQ().heads(ACTIONS["box"])
