"""The worker: the paper's actor-learner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asyncrl.algorithms.base import Algorithm, Networks
from asyncrl.config import Experiment
from asyncrl.envs.make import make_environments
from asyncrl.functional import schedules
from asyncrl.networks.assemble import Network, flatten_parameters, make_network
from asyncrl.optim.hogwild import clip, gradients, make_optimizer
from asyncrl.runtime.collector import Collector, Policy
from asyncrl.runtime.shared import SharedState
from asyncrl.types import EnvironmentInfo, Report, State


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is started with."""

    number: int
    experiment: Experiment
    info: EnvironmentInfo
    shared: SharedState
    seed: np.random.SeedSequence


def work(setup: WorkerSetup) -> Iterator[Report]:
    """Acts, learns and reports until the run's steps are done (Mnih et al. 2016, Algorithms S2 and S3).

    Yields once per rollout, so that several workers can take turns in one process.
    """
    experiment, algorithm = setup.experiment, setup.experiment.algorithm
    counter, parameters = setup.shared.counter, setup.shared.parameters.tensor
    environment_seed, action_seed = (int(seed) >> 2 for seed in setup.seed.generate_state(2))  # emulators take 31 bits

    random = torch.Generator().manual_seed(action_seed)
    networks = Networks(online=make_network(experiment, setup.info))
    local_parameters = flatten_parameters(networks.online)
    statistics = {name: vector.tensor for name, vector in setup.shared.statistics.items()}
    optimizer = make_optimizer(experiment.optimizer, parameters, statistics, lambda: counter.updates)
    memory = algorithm.make_memory()
    policy = exploring_policy(algorithm, networks.online, random)
    collector = Collector(
        make_environments(experiment.environment, experiment.environment_options, experiment.envs_per_worker),
        networks.online.initial_state(experiment.envs_per_worker),
        algorithm.rollout_length,
        algorithm.discount,
        experiment.reward_clip,
        experiment.episode_rollouts,
        environment_seed,
    )

    while not counter.reached(experiment.steps):
        local_parameters.copy_(parameters)  # θ' ← θ
        rollout = collector.collect(policy)  # T × B steps
        updates, totals = 0, defaultdict[str, float](float)
        for experience in algorithm.experience(rollout, memory, random):
            loss = algorithm.loss(networks, experience)
            gradient, norm = clip(gradients(loss.total, networks.online), experiment.optimizer.max_gradient_norm)
            optimizer.apply(gradient, learning_rate(experiment, counter.steps))  # lock-free
            counter.advance(setup.number, updates=1)
            updates += 1
            totals["gradient_norm"] += norm
            for name, value in loss.statistics.items():
                totals[name] += float(value)
        counter.advance(setup.number, steps=rollout.steps)
        yield Report(setup.number, updates, collector.pop_finished(), totals)
    collector.environments.close()


def exploring_policy(algorithm: Algorithm, network: Network, random: torch.Generator) -> Policy:
    """The algorithm's way of acting while it learns."""

    def policy(observations: Tensor, state: State, first: Tensor) -> tuple[Tensor, State]:
        with torch.no_grad():
            outputs, state = network(observations, state, first)
            return algorithm.act(network, outputs, random), state

    return policy


def learning_rate(experiment: Experiment, steps: int) -> float:
    """η after that many global steps."""
    settings = experiment.optimizer
    end = 0.0 if settings.schedule == "linear" else settings.learning_rate
    return schedules.linear(settings.learning_rate, end, steps, experiment.steps)
