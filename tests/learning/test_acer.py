"""ACER finds the optimum from what another policy did."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asyncrl.algorithms.acer import ACER
from asyncrl.envs.make import describe, make_environments
from asyncrl.networks.assemble import Networks
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.types import Decision, Progress, State, WorkerInfo
from tests.experiments import small
from tests.learning.test_learning import GAMMA, STATES, true_action_values

B = 16
SETTINGS: dict[str, Any] = {
    "rollout_length": 8,
    "discount": GAMMA,
    "hidden": (32,),
    "envs_per_worker": B,
    "replay_ratio": 4.0,
    "replay_start": 500,
    "entropy_weight": 1e-3,
}


def learned_from_random_actions(rollouts: int, **settings: Any) -> tuple[Tensor, Tensor]:
    """Policy and action values [5, 2] after learning from an agent that acts at random all the time."""
    experiment = small("test/SlipperyChain-v0", "acer", **{**SETTINGS, **settings})
    algorithm, info = experiment.algorithm, describe(experiment)
    assert isinstance(algorithm, ACER)
    online, average = make_network(experiment, info), make_network(experiment, info)
    networks = Networks(online, average if algorithm.target_update else None)
    random = torch.Generator().manual_seed(0)
    memory = algorithm.make_memory(WorkerInfo(info, B, 0, 1))
    optimizer = torch.optim.Adam(online.parameters(), 3e-3)

    def act(observations: Any, state: State, first: Tensor) -> Decision:
        return Decision(torch.randint(2, (1, B), generator=random), state, {"policy": torch.zeros(1, B, 2)})

    collector = Collector(make_environments(experiment, B), (), RolloutRules.of(experiment), 1)
    for _ in range(rollouts):
        memory.add(collector.collect(act))
        for item in memory.draw(networks, random, Progress(0, 1000)):
            optimizer.zero_grad()
            algorithm.loss(networks, item).total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            for slow, fast in zip(average.parameters(), online.parameters(), strict=True):
                slow.data.lerp_(fast.data, 1 - algorithm.average_decay)
    outputs, _ = online(torch.eye(STATES)[None], (), torch.ones(1, STATES, dtype=torch.bool))
    return outputs["policy"][0].detach().softmax(-1), outputs["q"][0].detach()


def test_the_optimum_is_learned_from_random_actions() -> None:
    policy, action_values = learned_from_random_actions(100, truncation=1.0)
    truth = torch.from_numpy(true_action_values(None)).float()
    assert policy.argmax(-1).tolist() == truth.argmax(-1).tolist()
    error = float((action_values - truth).abs().max())
    assert error < 0.1
    # without Retrace the values remain near those of random actions
    _, uncorrected = learned_from_random_actions(100, truncation=1.0, retrace=False)
    assert float((uncorrected - truth).abs().max()) > 2 * error
