"""What heads are fed, and when they are computed."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from torch import Tensor, nn

from asyncrl.networks.assemble import Network
from asyncrl.networks.heads import Head, PolicyHead, policy_head
from asyncrl.settings import NetworkSettings
from asyncrl.types import Rollout

T, B = 3, 2


class Counted(nn.Module):
    """Passes its features on and counts how often it was asked."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.width, self.calls = features, 0

    def forward(self, features: Tensor) -> Tensor:
        self.calls += 1
        return features


def make(**settings: Any) -> Network:
    heads = {
        "policy": policy_head(Discrete(3)),
        "auxiliary": Head(Counted, fed_by="torso", acting=False),
        "recurrent": Head(Counted, acting=False),
    }
    space = Box(-1, 1, (5,), np.float32)
    return Network(space, NetworkSettings(hidden=(8,), memory="lstm", memory_size=6, **settings), heads)


def test_a_head_is_fed_by_the_torso_or_by_the_core() -> None:
    for separate in (False, True):
        network = make(separate=separate)
        assert (network.heads["auxiliary"].width, network.heads["recurrent"].width) == (8, 6)
        observations, first = torch.randn(T, B, 5), torch.zeros(T, B, dtype=torch.bool)
        outputs, _ = network(observations, network.initial_state(B), first)
        shuffled, _ = network(observations.flip(0), network.initial_state(B), first)
        assert outputs["auxiliary"].shape == (T, B, 8)
        torch.testing.assert_close(outputs["auxiliary"].flip(0), shuffled["auxiliary"])  # no memory of earlier steps
        assert not torch.allclose(outputs["recurrent"].flip(0), shuffled["recurrent"])


def test_acting_computes_no_head_that_only_losses_need() -> None:
    network = make()
    observations, first = torch.randn(T + 1, B, 5), torch.zeros(T + 1, B, dtype=torch.bool)
    outputs, _, _ = network.act(observations[:1], network.initial_state(B), first[:1])
    assert set(outputs) == {"policy"}
    assert network.heads["auxiliary"].calls == 0
    zeros = torch.zeros(T, B)
    rollout = Rollout(observations, zeros.long(), zeros, zeros, zeros == 0, first, network.initial_state(B))
    unrolled = network.unroll(rollout)
    assert set(unrolled) == {"policy", "auxiliary", "recurrent"}
    torch.testing.assert_close(unrolled["policy"][:1], outputs["policy"])
    assert {name: len(rows) for name, rows in network.unroll(rollout, final=False).items()} == dict.fromkeys(
        unrolled, T
    )


@pytest.mark.parametrize("space", [Discrete(4), MultiDiscrete([2, 3]), Box(-1, 1, (2,), np.float32)])
def test_divergences_of_policies_are_means_of_log_ratios_over_drawn_actions(space: Space[Any]) -> None:
    random = torch.Generator().manual_seed(0)
    head = cast(PolicyHead, policy_head(space).make(5))
    with torch.no_grad():
        one, other = (head(3 * torch.randn(5, generator=random)) for _ in range(2))  # type: ignore[operator]
        other = one + 20 * (other - one) if isinstance(space, Discrete | MultiDiscrete) else 1.3 * one
        many = one.expand(50_000, -1)
        actions = head.sample(many, random)
        ratios = head.log_probability(many, actions) - head.log_probability(other.expand_as(many), actions)
    assert float(head.kl_divergence(one, other)) == pytest.approx(float(ratios.mean()), rel=0.05)
    assert float(head.kl_divergence(one, other)) > 0.01
    assert float(head.kl_divergence(one, one)) == 0
