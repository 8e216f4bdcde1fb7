"""A network for each action: no parameter is shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Space
from torch import Tensor, nn

from asyncrl.algorithms.nfq import NFQ
from asyncrl.networks.action_values import separate_action_value_head
from asyncrl.networks.assemble import Network
from asyncrl.networks.heads import Head, policy_head
from asyncrl.optim.hogwild import gradients
from asyncrl.settings import NetworkSettings
from tests.networks.test_heads import Counted

ACTIONS, N = 3, 5
SPACES: dict[str, Space[object]] = {
    "vector": Box(-1, 1, (4,), np.float32),
    "dictionary": Dict({"a": Box(-1, 1, (2,), np.float32), "b": Box(-1, 1, (3,), np.float32)}),
    "image": Box(0, 255, (10, 10, 2), np.uint8),
}


def network(space: Space[object]) -> Network:
    torch.manual_seed(0)
    return Network(space, NetworkSettings(hidden=(6, 5)), NFQ(separate_actions=True).heads(Discrete(ACTIONS)))


def observed(space: Space[object]) -> object:
    space.seed(0)
    samples = [space.sample() for _ in range(N)]
    if isinstance(space, Dict):
        return {key: torch.from_numpy(np.stack([one[key] for one in samples]))[None] for key in space.spaces}  # type: ignore[index]
    return torch.from_numpy(np.stack(samples))[None]  # type: ignore[arg-type]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_value_of_an_action_depends_on_its_own_network_only(space: Space[object]) -> None:
    made = network(space)

    def values() -> Tensor:
        return made(observed(space), (), torch.zeros(1, N, dtype=torch.bool))[0]["q"]

    assert values().shape == (1, N, ACTIONS)
    sizes = [parameter.numel() for parameter in made.parameters()]
    reached = torch.stack([gradients(values()[..., a].sum(), made) != 0 for a in range(ACTIONS)])  # [A, P]
    assert int(reached.sum(0).max()) == 1  # no parameter belongs to two actions
    for number, part in enumerate(reached.split(sizes, -1)):  # type: ignore[no-untyped-call]
        assert int(part.any(-1).sum()) == 1, f"parameter {number} belongs to exactly one action"


def test_the_networks_are_alike_in_form_and_differ_in_their_first_parameters() -> None:
    torsos = network(SPACES["vector"]).bodies[0].torso.torsos  # type: ignore[union-attr]
    first: list[Tensor] = [torso.layers[0].weight for torso in torsos]  # type: ignore[union-attr,misc]
    assert [tuple(weight.shape) for weight in first] == [(6, 4)] * ACTIONS
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("separate", [False, True])
def test_other_heads_keep_the_torso_that_they_share(separate: bool) -> None:
    heads = {
        "policy": policy_head(Discrete(ACTIONS)),
        "q": separate_action_value_head(Discrete(ACTIONS)),
        "auxiliary": Head(Counted),
    }
    made = Network(SPACES["vector"], NetworkSettings(hidden=(6,), separate=separate), heads)
    assert made.body_of == (
        {"policy": 0, "q": 1, "auxiliary": 2} if separate else {"policy": 1, "q": 0, "auxiliary": 1}
    )
    assert isinstance(made.heads["policy"], nn.Module)
    outputs, _ = made(torch.randn(1, N, 4), (), torch.zeros(1, N, dtype=torch.bool))
    assert {name: tuple(output.shape[2:]) for name, output in outputs.items()} == {
        "policy": (ACTIONS,),
        "q": (ACTIONS,),
        "auxiliary": (6,),
    }
