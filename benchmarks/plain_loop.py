"""A3C as well-known scripts write it: a plain loop in PyTorch, one environment per process, not optimised.

This is the peer for the paper's algorithm with one environment per worker. It has the same environments, rewards,
network (with PyTorch's convolutions), rollout length and loss weights, PyTorch's own RMSProp, and one thread per
process. As in those scripts, acting records the graph that is differentiated, so learning needs no second forward pass.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from asyncrl.algorithms.a3c import A3C
from asyncrl.bench.measure import START_SECONDS, WARM_UP, run_processes
from asyncrl.config import Experiment
from asyncrl.envs.actions import action_codec
from asyncrl.envs.make import make_environments
from asyncrl.networks.torso import ImageTorso
from asyncrl.runtime.networks import make_network
from asyncrl.types import EnvironmentInfo

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

NOT_FIRST = torch.zeros(1, 1, dtype=torch.bool)


@dataclass
class Steps:
    """What one rollout needs for its loss; one entry per step."""

    values: list[Tensor] = field(default_factory=list)
    log_probabilities: list[Tensor] = field(default_factory=list)  # of the chosen action
    entropies: list[Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)  # unclipped
    has_ended: bool = False  # with the end of an episode


def fits(experiment: Experiment, info: EnvironmentInfo) -> bool:
    """Whether the loop can do this: feed-forward A3C with Discrete actions and one environment per worker."""
    network = experiment.network
    plain = network.memory == "none" and not network.separate and not network.normalize_observations
    spaces = isinstance(info.action_space, Discrete) and isinstance(info.observation_space, Box)
    return isinstance(experiment.algorithm, A3C) and plain and spaces and experiment.environment_count == 1


def plain_speed(experiment: Experiment, info: EnvironmentInfo, seconds: float) -> float:
    """Steps per second of as many processes as the experiment has workers.

    Raises:
        RunError: A process failed.
    """
    shared = make_network(experiment, info).share_memory()
    return run_processes(_measure, (experiment, info, shared, seconds), experiment.worker_count)


def _measure(
    experiment: Experiment,
    info: EnvironmentInfo,
    shared: nn.Module,
    seconds: float,
    seed: int,
    barrier: Barrier,
    results: SimpleQueue[float],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rollouts = train(experiment, info, shared, seed)
    next(rollouts)
    barrier.wait(START_SECONDS)
    _count(rollouts, WARM_UP)
    began = time.perf_counter()
    steps = _count(rollouts, seconds)
    results.put(steps / (time.perf_counter() - began))


def _count(rollouts: Iterator[Steps], seconds: float) -> int:
    """Trains for some seconds and returns the number of steps."""
    steps, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        steps += len(next(rollouts).rewards)
    return steps


def train(experiment: Experiment, info: EnvironmentInfo, shared: nn.Module, seed: int) -> Iterator[Steps]:
    """Trains the shared network for ever, and yields each rollout after its update."""
    settings = experiment.optimizer
    environment, codec = make_environments(experiment, 1), action_codec(info.action_space)
    network = make_network(experiment, info)
    for module in network.modules():
        if isinstance(module, ImageTorso):
            module.compiled = None
    optimizer = torch.optim.RMSprop(shared.parameters(), settings.learning_rate, settings.decay, settings.epsilon)
    observation = environment.reset(seed=seed)[0]
    while True:
        network.load_state_dict(shared.state_dict())
        steps = Steps()
        while len(steps.rewards) < experiment.algorithm.rollout_length and not steps.has_ended:
            outputs = _outputs(network, observation)
            log_policy = functional.log_softmax(outputs["policy"][0], -1)
            policy = log_policy.exp()
            action = policy.multinomial(1)
            steps.log_probabilities.append(log_policy.gather(1, action))
            steps.entropies.append(-(log_policy * policy).sum())
            steps.values.append(outputs["value"])
            chosen = codec.to_environment(action[:, 0].numpy())
            observation, reward, terminated, truncated, _ = environment.step(chosen)
            steps.rewards.append(float(reward[0]))
            steps.has_ended = bool(terminated[0] or truncated[0])
        if steps.has_ended:
            last_value = torch.zeros(1, 1)
            observation = environment.step(chosen)[0]  # the step that resets the environment
        else:
            with torch.no_grad():
                last_value = _outputs(network, observation)["value"]
        optimizer.zero_grad()
        network.zero_grad()
        _loss(experiment, steps, last_value).backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
        for own, common in zip(network.parameters(), shared.parameters(), strict=True):
            common.grad = own.grad
        optimizer.step()
        yield steps


def _outputs(network: nn.Module, observation: Any) -> dict[str, Tensor]:
    return cast(dict[str, Tensor], network(torch.from_numpy(np.asarray(observation))[None], (), NOT_FIRST)[0])


def _loss(experiment: Experiment, steps: Steps, last_value: Tensor) -> Tensor:
    """The sum of the loss over the steps of a rollout."""
    algorithm, clip = cast(A3C, experiment.algorithm), experiment.reward_clip
    value = last_value
    policy_loss = value_loss = torch.zeros(1, 1)
    for t in reversed(range(len(steps.rewards))):
        reward = steps.rewards[t] if clip is None else max(-clip, min(clip, steps.rewards[t]))
        value = reward * experiment.reward_scale + algorithm.discount * value
        advantage = value - steps.values[t]
        value_loss = value_loss + advantage.pow(2)
        policy_loss = policy_loss - steps.log_probabilities[t] * advantage.detach()
        policy_loss = policy_loss - algorithm.entropy_weight * steps.entropies[t]
    return (policy_loss + algorithm.value_weight * value_loss).sum()
