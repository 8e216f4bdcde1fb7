"""A3C as the well-known scripts write it: a plain loop in Torch, one environment per process, nothing made faster.

It is what the paper's algorithm with one environment per worker is compared with. It has the same environments and
rewards, network (with torch's convolutions), rollout length and weights of the loss, torch's RMSProp, and one thread
per process. As in those scripts the graph of acting is what is differentiated, so that it needs no second forward pass.
"""

from __future__ import annotations

import signal
import time
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from asyncrl.algorithms.a3c import A3C
from asyncrl.bench.measure import START_SECONDS, WARM_UP, run_processes
from asyncrl.config import Experiment
from asyncrl.envs.actions import action_codec
from asyncrl.envs.make import make_environments
from asyncrl.networks.assemble import flatten_parameters
from asyncrl.networks.torso import ImageTorso
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.rollout_buffer import RewardRule
from asyncrl.runtime.shared import SharedVector
from asyncrl.types import EnvironmentInfo

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue


def fits(experiment: Experiment, info: EnvironmentInfo) -> bool:
    """Whether the loop knows the experiment: A3C, feed-forward, Discrete actions, one environment per worker."""
    network = experiment.network
    plain = network.memory == "none" and not network.separate and not network.normalize_observations
    spaces = isinstance(info.action_space, Discrete) and isinstance(info.observation_space, Box)
    return isinstance(experiment.algorithm, A3C) and plain and spaces and experiment.environment_count == 1


def plain_speed(experiment: Experiment, info: EnvironmentInfo, seconds: float) -> float:
    """Steps per second of as many processes as there are workers.

    Raises:
        RunError: A process failed.
    """
    parameters = flatten_parameters(make_network(experiment, info))
    shared = SharedVector(parameters.numel(), process_context())
    shared.tensor.copy_(parameters)
    return run_processes(_loop, (experiment, info, shared, seconds), experiment.worker_count)


def _loop(
    experiment: Experiment,
    info: EnvironmentInfo,
    shared_vector: SharedVector,
    seconds: float,
    seed: int,
    barrier: Barrier,
    results: SimpleQueue[float],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    algorithm, settings = cast(A3C, experiment.algorithm), experiment.optimizer
    environment = make_environments(experiment, 1)
    codec, rule = action_codec(info.action_space), RewardRule(experiment.reward_clip, experiment.reward_scale)
    network, shared = make_network(experiment, info), make_network(experiment, info)
    for module in network.modules():
        if isinstance(module, ImageTorso):
            module.compiled = None
    flatten_parameters(shared, into=shared_vector.tensor)
    optimizer = torch.optim.RMSprop(shared.parameters(), settings.learning_rate, settings.decay, settings.epsilon)
    first = torch.zeros(1, 1, dtype=torch.bool)
    observation = environment.reset(seed=seed)[0]
    barrier.wait(START_SECONDS)

    steps, began, steps_before = 0, 0.0, 0
    started = time.perf_counter()
    while not began or time.perf_counter() - began < seconds:
        if not began and time.perf_counter() - started > WARM_UP:
            began, steps_before = time.perf_counter(), steps
        network.load_state_dict(shared.state_dict())
        values, log_probabilities, entropies, rewards = [], [], [], []
        ended = False
        for _ in range(algorithm.rollout_length):
            outputs, _ = network(torch.from_numpy(np.asarray(observation))[None], (), first)
            log_policy = functional.log_softmax(outputs["policy"], -1)
            policy = log_policy.exp()
            action = policy[0].multinomial(1)
            log_probabilities.append(log_policy[0].gather(1, action))
            entropies.append(-(log_policy * policy).sum())
            values.append(outputs["value"])
            chosen = codec.to_environment(action[:, 0].numpy())
            observation, reward, terminated, truncated, _ = environment.step(chosen)
            rewards.append(float(rule.apply(torch.tensor(float(reward[0])))))
            steps += 1
            ended = bool(terminated[0] or truncated[0])
            if ended:
                observation = environment.step(chosen)[0]  # the step that resets it
                break
        value = torch.zeros(1, 1)
        if not ended:
            with torch.no_grad():
                value = network(torch.from_numpy(np.asarray(observation))[None], (), first)[0]["value"]
        policy_loss = value_loss = torch.zeros(1, 1)
        for t in reversed(range(len(rewards))):
            value = rewards[t] + algorithm.discount * value
            advantage = value - values[t]
            value_loss = value_loss + advantage.pow(2)
            policy_loss = policy_loss - log_probabilities[t] * advantage.detach()
            policy_loss = policy_loss - algorithm.entropy_weight * entropies[t]
        optimizer.zero_grad()
        network.zero_grad()
        (policy_loss + algorithm.value_weight * value_loss).sum().backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
        for own, common in zip(network.parameters(), shared.parameters(), strict=True):
            common.grad = own.grad
        optimizer.step()
    results.put((steps - steps_before) / (time.perf_counter() - began))
