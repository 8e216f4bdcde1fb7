"""ACER's gradient is that of the pseudo-code, written out step by step (Wang et al. 2017, Algorithms 2 and 3)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.algorithms.acer import ACER
from asyncrl.memory.trajectories import Trajectories
from asyncrl.networks.assemble import Networks
from asyncrl.networks.stochastic_dueling import AdvantageHead
from asyncrl.optim.hogwild import gradients
from tests.contracts.test_algorithms import A, B, T, drawn, rollout, setup

Array = NDArray[np.float64]
GAMMA = 0.9  # of the rollouts
SAMPLES, DIMENSIONS = 4, 2


class Pass(NamedTuple):
    """What a step of the pseudo-code adds up, by time and environment."""

    policy: Array  # z* [T, B, S]
    action_values: Array  # the derivative of the squared errors by Q [T, B]
    state_values: Array  # and by V, beside that through Q [T, B]


def experience_of(actions: str, settings: Mapping[str, Any]) -> tuple[ACER, Networks, Trajectories]:
    algorithm, networks = setup("acer", actions, "none", {"rollout_length": T, **settings})
    data = rollout(networks, actions, dummies=((3, 1),))
    data.discounts[1, 2] = 0.0  # a terminal state without its dummy step, to keep the arithmetic visible
    behaviour = {"policy": data.behaviour["policy"].clone()}
    behaviour["policy"][2] *= 3.0  # far from the present policy
    return algorithm, networks, drawn(algorithm, networks, dataclasses.replace(data, behaviour=behaviour))


def projected(g: Array, k: Array, limit: float) -> Array:
    return g - max(0.0, (k @ g - limit) / (k @ k)) * k


def discrete(
    algorithm: ACER, outputs: Mapping[str, Tensor], average: Tensor, data: Any, c: float, limit: float
) -> Pass:
    """Algorithm 2 with an entropy bonus; φ are logits."""

    def softmax(logits: Tensor) -> Array:
        return np.asarray(logits.double().softmax(-1).numpy())

    pi, mu, pi_average = softmax(outputs["policy"]), softmax(data.behaviour["policy"]), softmax(average)
    q = outputs["q"].double().numpy()
    found = Pass(np.zeros((T, B, A)), np.zeros((T, B)), np.zeros((T, B)))
    for b in range(B):
        q_ret = float(pi[T, b] @ q[T, b])
        for t in reversed(range(T)):
            v = float(pi[t, b] @ q[t, b])
            if not data.valid[t, b]:
                q_ret = v
                continue
            a = int(data.actions[t, b])
            q_ret = float(data.rewards[t, b]) + float(data.discounts[t, b]) * q_ret
            rho = pi[t, b] / mu[t, b]
            scores = np.eye(A) - pi[t, b]  # ∇φ log π of each action
            g = min(c, rho[a]) * (q_ret - v) * scores[a]
            for other in range(A):
                g = g + max(0, 1 - c / rho[other]) * pi[t, b, other] * (q[t, b, other] - v) * scores[other]
            entropy = -float(pi[t, b] @ np.log(pi[t, b]))
            g = g - algorithm.entropy_weight * pi[t, b] * (np.log(pi[t, b]) + entropy)
            found.policy[t, b] = projected(g, pi[t, b] - pi_average[t, b], limit)
            found.action_values[t, b] = -2 * (q_ret - q[t, b, a])
            q_ret = min(1.0, rho[a]) * (q_ret - q[t, b, a]) + v
    return found


def continuous(
    algorithm: ACER, outputs: Mapping[str, Tensor], average: Tensor, item: Trajectories, networks: Networks, c: float
) -> Pass:
    """Algorithm 3 with an entropy bonus; φ are the mean and the variance σ²."""
    data, head = item.rollout, cast(AdvantageHead, networks.online.heads["advantage"])

    def advantage(t: int, b: int, action: Array) -> float:
        with torch.no_grad():
            return float(head.advantage(outputs["advantage"][t, b], torch.from_numpy(action).float()))

    def density(phi: Array, action: Array) -> float:
        squares = ((action - phi[:-1]) ** 2).sum()
        return math.exp(-squares / (2 * phi[-1])) / (2 * math.pi * phi[-1]) ** (DIMENSIONS / 2)

    def score(phi: Array, action: Array) -> Array:
        difference, variance = action - phi[:-1], phi[-1]
        by_variance = (difference @ difference) / (2 * variance**2) - DIMENSIONS / (2 * variance)
        return np.append(difference / variance, by_variance)

    found = Pass(np.zeros((T, B, DIMENSIONS + 1)), np.zeros((T, B)), np.zeros((T, B)))
    for b in range(B):
        q_ret = q_opc = float(outputs["value"][T, b])
        for t in reversed(range(T)):
            v = float(outputs["value"][t, b])
            if not data.valid[t, b]:
                q_ret = q_opc = v
                continue
            phi, mu = outputs["policy"][t, b].double().numpy(), data.behaviour["policy"][t, b].double().numpy()
            a = data.actions[t, b].double().numpy()
            *drawn_actions, other = (
                phi[:-1] + math.sqrt(phi[-1]) * noise.double().numpy() for noise in item.noise[:, t, b]
            )
            mean = float(np.mean([advantage(t, b, action) for action in drawn_actions]))
            q, q_other = (v + advantage(t, b, action) - mean for action in (a, other))
            reward, discount = float(data.rewards[t, b]), float(data.discounts[t, b])
            q_ret, q_opc = reward + discount * q_ret, reward + discount * q_opc
            rho, rho_other = (density(phi, action) / density(mu, action) for action in (a, other))
            g = min(c, rho) * (q_opc - v) * score(phi, a)
            g = g + max(0, 1 - c / rho_other) * (q_other - v) * score(phi, other)
            g[-1] += algorithm.entropy_weight * DIMENSIONS / (2 * phi[-1])
            near = average[t, b].double().numpy()
            shift = phi[:-1] - near[:-1]
            k_variance = DIMENSIONS / 2 * (1 / phi[-1] - near[-1] / phi[-1] ** 2) - shift @ shift / (2 * phi[-1] ** 2)
            k = np.append(shift / phi[-1], k_variance)
            found.policy[t, b] = projected(g, k, algorithm.trust_region_limit)
            found.action_values[t, b] = -2 * (q_ret - q)
            found.state_values[t, b] = -2 * min(1.0, rho) * (q_ret - q)
            q_ret = min(1.0, rho ** (1 / DIMENSIONS)) * (q_ret - q) + v
            q_opc = q_opc - q + v
    return found


def parts(networks: Networks, item: Trajectories) -> tuple[dict[str, Tensor], Tensor]:
    """The online network's outputs [T+1, B, ...], and the average policy's φ [T, B, S]."""
    data = item.rollout
    assert networks.target is not None
    outputs = networks.online(data.observations, (), data.first)[0]
    return outputs, networks.target(data.observations[:-1], (), data.first[:-1])[0]["policy"].detach()


def by_parameters(networks: Networks, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The gradient by all parameters of the online network, given that by some of its outputs."""
    surrogate = sum((output * gradient.to(torch.float32)).sum() for output, gradient in pairs)
    assert isinstance(surrogate, Tensor)
    return gradients(surrogate / B, networks.online)


@pytest.mark.parametrize("limit", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("c", [0.5, 1.2, 10.0])
def test_the_gradient_for_discrete_actions_is_that_of_algorithm_2(c: float, limit: float) -> None:
    algorithm, networks, item = experience_of("discrete", {"truncation": c, "trust_region_limit": limit})
    outputs, average = parts(networks, item)
    fixed = {name: rows.detach() for name, rows in outputs.items()}
    reference = discrete(algorithm, fixed, average, item.rollout, c, limit)
    taken = outputs["q"][:-1].gather(-1, item.rollout.actions.unsqueeze(-1)).squeeze(-1)
    expected = by_parameters(
        networks,
        [
            (outputs["policy"][:-1], -torch.from_numpy(reference.policy)),
            (taken, algorithm.value_weight * torch.from_numpy(reference.action_values)),
        ],
    )
    found = gradients(algorithm.loss(networks, item).total, networks.online)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("c", [0.5, 5.0])
@pytest.mark.parametrize("limit", [0.1, 1.0])
def test_the_gradient_for_continuous_actions_is_that_of_algorithm_3(c: float, limit: float) -> None:
    settings = {"truncation": c, "trust_region_limit": limit, "dueling_samples": SAMPLES}
    algorithm, networks, item = experience_of("box", settings)
    outputs, average = parts(networks, item)
    reference = continuous(
        algorithm, {name: rows.detach() for name, rows in outputs.items()}, average, item, networks, c
    )
    head, hidden = cast(AdvantageHead, networks.online.heads["advantage"]), outputs["advantage"][:-1]
    policy = outputs["policy"][:-1].detach()
    noise = item.noise[:-1]
    drawn_actions = policy[..., :-1] + policy[..., -1:].sqrt() * noise
    means = torch.stack([head.advantage(hidden, action) for action in drawn_actions]).mean(0)
    taken = outputs["value"][:-1] + head.advantage(hidden, item.rollout.actions) - means
    expected = by_parameters(
        networks,
        [
            (outputs["policy"][:-1], -torch.from_numpy(reference.policy)),
            (taken, algorithm.value_weight * torch.from_numpy(reference.action_values)),
            (outputs["value"][:-1], algorithm.value_weight * torch.from_numpy(reference.state_values)),
        ],
    )
    found = gradients(algorithm.loss(networks, item).total, networks.online)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
