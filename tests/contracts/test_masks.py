"""What every algorithm must keep where the environment masks actions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from torch import Tensor

from asyncrl.algorithms import ALGORITHMS, VALUE_BASED
from asyncrl.errors import UserError
from asyncrl.networks.action_values import ActionValueHead, SeparateActionValueHead
from asyncrl.networks.assemble import Network, Networks
from asyncrl.networks.heads import Head
from asyncrl.optim.hogwild import gradients
from asyncrl.runtime.networks import make_network
from asyncrl.settings import NetworkSettings
from asyncrl.types import ACTION_MASK, OBSERVATION, EnvironmentInfo, Progress, Rollout, WorkerInfo
from tests.experiments import small

T, B = 6, 64
SIZES = {"discrete": (4,), "multi-discrete": (3, 2)}
METHODS: list[tuple[str, str, dict[str, Any]]] = [
    ("a3c", "discrete", {}),
    ("a3c", "multi-discrete", {}),
    ("unreal", "discrete", {"rollout_length": T, "pixel_control": 0.0}),
    ("acer", "discrete", {"rollout_length": T}),
    ("ppo", "multi-discrete", {"epochs": 1, "minibatches": 1}),
    ("impala", "discrete", {"epochs": 1}),
    ("pgq", "multi-discrete", {"rollout_length": T}),
    *[(name, "discrete", {}) for name in VALUE_BASED],
    *[(name, "discrete", {"double": True}) for name in VALUE_BASED if name != "sarsa"],
    ("pqn", "discrete", {"epochs": 1, "minibatches": 1}),
]
FIT: dict[str, Any] = {"replay_start": 1, "epochs": 1}  # NFQ then learns once after a rollout
NAMES = ("name", "actions", "settings", "memory")
CASES = [
    *[(*method, memory) for method in METHODS for memory in ("none", "lstm")],
    ("nfq", "discrete", FIT, "none"),
    ("nfq", "discrete", {**FIT, "separate_actions": True, "hint_to_goal": "terminal"}, "none"),
]


def space_for(actions: str) -> Dict:
    observation, mask = Box(-1, 1, (5,)), Box(0, 1, (sum(SIZES[actions]),), dtype="int8")  # type: ignore[arg-type]
    return Dict({OBSERVATION: observation, ACTION_MASK: mask})


def setup(name: str, actions: str, memory: str, settings: dict[str, Any]) -> tuple[Any, Networks, WorkerInfo]:
    experiment = small(algorithm=name, memory=memory, normalize_observations=True, **settings)
    space = MultiDiscrete(SIZES[actions]) if actions == "multi-discrete" else Discrete(4)
    info = EnvironmentInfo("x", space_for(actions), space, 1)
    assert isinstance(experiment.algorithm, ALGORITHMS[name])
    online, other = make_network(experiment, info), make_network(dataclasses.replace(experiment, seed=2), info)
    target = other if experiment.algorithm.target_update else None
    return experiment.algorithm, Networks(online, target), WorkerInfo(info, B, 0, 1)


def last_bias(head: Any) -> Tensor:
    """The bias of the last layer, from action 0 on."""
    if isinstance(head, SeparateActionValueHead):
        return head.values[0].bias  # type: ignore[return-value]
    return (head.advantage if isinstance(head, ActionValueHead) else head.logits).bias  # type: ignore[no-any-return]


def masks(actions: str, rows: int, forbidden: int | None = None) -> Tensor:
    """Random masks [rows, B, A] that leave at least one choice of each component."""
    random = torch.Generator().manual_seed(0)
    parts = []
    for size in SIZES[actions]:
        mask = (torch.rand(rows, B, size, generator=random) < 0.5).to(torch.int8)
        mask.scatter_(-1, torch.randint(1, size, (rows, B, 1), generator=random), 1)
        if forbidden is not None and not parts:
            mask[..., forbidden] = 0
        parts.append(mask)
    return torch.cat(parts, -1)


def is_allowed(mask: Tensor, chosen: Tensor, actions: str) -> Tensor:
    """Whether each action [..., B] (with a last axis for several components) is one that the mask allows."""
    components = chosen.unbind(-1) if len(SIZES[actions]) > 1 else [chosen]
    parts = torch.split(mask, list(SIZES[actions]), -1)
    allowed = [part.gather(-1, one.unsqueeze(-1)) for part, one in zip(parts, components, strict=True)]
    return torch.cat(allowed, -1).all(-1)


@pytest.mark.parametrize(NAMES, [*CASES, *[("dqn", "discrete", {}, memory) for memory in ("none", "lstm")]])
@torch.no_grad()
def test_masked_actions_are_never_chosen(name: str, actions: str, settings: dict[str, Any], memory: str) -> None:
    algorithm, networks, worker = setup(name, actions, memory, settings)
    network, random = networks.online, torch.Generator().manual_seed(0)
    mask = masks(actions, 1)
    observations = {OBSERVATION: torch.randn(1, B, 5), ACTION_MASK: mask}
    outputs, _, _ = network.act(observations, network.initial_state(B), torch.ones(1, B, dtype=torch.bool))
    explore = algorithm.explorer(network, worker, random)
    explored = torch.cat([explore(outputs, Progress(0, 1000)) for _ in range(100)])
    for chosen in (explored, algorithm.act(network, outputs, random), algorithm.act_greedily(network, outputs)):
        assert is_allowed(mask.expand(len(chosen), B, -1), chosen, actions).all()
    width = mask.shape[-1]
    if actions == "discrete":  # a new agent tries everything that is allowed
        tried = torch.nn.functional.one_hot(explored, width).amax(0)
        assert torch.equal(tried, mask[0].to(torch.int64))


@pytest.mark.parametrize(NAMES, CASES)
def test_the_loss_does_not_depend_on_outputs_for_masked_actions(
    name: str, actions: str, settings: dict[str, Any], memory: str
) -> None:
    algorithm, networks, worker = setup(name, actions, memory, settings)
    mask, random = masks(actions, T + 1, forbidden=0), torch.Generator().manual_seed(1)
    data = {OBSERVATION: torch.randn(T + 1, B, 5, generator=random), ACTION_MASK: mask}
    with torch.no_grad():
        outputs, _ = networks.online(data, networks.online.initial_state(B), torch.zeros(T + 1, B, dtype=torch.bool))
        chosen = algorithm.act(networks.online, outputs, random)
    valid, first = torch.ones(T, B, dtype=torch.bool), torch.zeros(T + 1, B, dtype=torch.bool)
    valid[3, 1], first[4, 1] = False, True
    rollout = Rollout(
        observations=data,
        actions=chosen[:-1],
        rewards=torch.randn(T, B, generator=random),
        discounts=torch.full((T, B), 0.9),
        valid=valid,
        first=first,
        state=networks.online.initial_state(B),
        next_actions=chosen[-1],
        behaviour={name: rows[:-1] for name, rows in outputs.items()},
    )
    rollout.discounts[2, :3] = 0.0  # terminal states, which are hints for NFQ

    def learned() -> tuple[float, Tensor]:
        memory_of_worker = algorithm.make_memory(worker)
        memory_of_worker.add(rollout)
        (experience,) = memory_of_worker.draw(networks, torch.Generator(), Progress(0, 1000))
        loss = algorithm.loss(networks, experience).total
        return float(loss.detach()), gradients(loss, networks.online)

    before = learned()
    assert torch.isfinite(before[1]).all()
    assert before[1].any()
    for network in (networks.online, networks.target):
        if network is not None:
            for head in (network.heads[name] for name in network.masked_heads):
                with torch.no_grad():
                    last_bias(head)[0] += 1e4  # of the action that is masked everywhere
    after = learned()
    assert after[0] == before[0]
    assert torch.equal(after[1], before[1])


def test_the_torso_and_the_parameters_are_those_without_a_mask() -> None:
    masked = make_network(small(), EnvironmentInfo("x", space_for("discrete"), Discrete(4), 1))
    plain = make_network(small(), EnvironmentInfo("x", Box(-1, 1, (5,)), Discrete(4), 1))
    assert all(
        name == other and torch.equal(tensor, twin)
        for (name, tensor), (other, twin) in zip(masked.state_dict().items(), plain.state_dict().items(), strict=True)
    )


def test_an_algorithm_whose_heads_take_no_mask_is_refused() -> None:
    heads = {"policy": Head(lambda features: torch.nn.Linear(features, 4))}
    with pytest.raises(UserError, match="no head of the algorithm is masked"):
        Network(space_for("discrete"), NetworkSettings(), heads)
