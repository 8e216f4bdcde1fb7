"""The worker: the paper's actor-learner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asyncrl.algorithms.base import Algorithm, Networks
from asyncrl.config import Experiment
from asyncrl.envs.make import make_environments
from asyncrl.functional import schedules
from asyncrl.memory.rollout import RewardRule
from asyncrl.networks.assemble import Network, flatten_parameters, make_network
from asyncrl.networks.convolution import Activations
from asyncrl.optim.hogwild import clip, gradients, make_optimizer
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.shared import Counter, SharedState
from asyncrl.tree import tree_map
from asyncrl.types import EnvironmentInfo, Report, Rollout, State


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
    networks = make_networks(experiment, setup.info, setup.shared)
    local_parameters = flatten_parameters(networks.online)
    normalizer, moments = networks.online.normalizer, setup.shared.moments
    statistics = {name: vector.tensor for name, vector in setup.shared.statistics.items()}
    optimizer = make_optimizer(
        experiment.optimizer, parameters, statistics, setup.number, updates=lambda: counter.updates
    )
    memory = algorithm.make_memory(networks, experiment.environment_count)
    policy = ExploringPolicy(algorithm, networks.online, experiment.environment_count, counter, random)
    collector = Collector(
        make_environments(experiment, experiment.environment_count),
        networks.online.initial_state(experiment.environment_count),
        algorithm.rollout_length,
        algorithm.discount,
        RewardRule(experiment.reward_clip, experiment.reward_scale),
        experiment.episode_rollouts,
        environment_seed,
        algorithm.look_ahead,
    )
    refresh_target = target_refresher(setup)
    clock = collector.clock

    while not counter.reached(experiment.steps):
        clock.restart()
        with setup.shared.lock:
            local_parameters.copy_(parameters)  # θ' ← θ
        if normalizer is not None and moments is not None:
            normalizer.set(moments.combined)
        rollout = replace(collector.collect(policy), activations=policy.pop_activations())  # T × B steps
        if normalizer is not None and moments is not None:
            moments.observe(setup.number, normalizer.vectors(flat_observations(rollout)))
        clock.lap("other")
        updates, totals = 0, defaultdict[str, float](float)
        for experience in algorithm.experience(rollout, memory, networks, random):
            loss = algorithm.loss(networks, experience)
            gradient, norm = clip(gradients(loss.total, networks.online), experiment.optimizer.max_gradient_norm)
            clock.lap("learn")
            with setup.shared.lock:  # none, unless the experiment asks for one
                optimizer.apply(gradient, learning_rate(experiment, counter.steps))
            clock.lap("update")
            counter.advance(setup.number, updates=1)
            updates += 1
            totals["gradient_norm"] += norm
            for name, value in loss.statistics.items():
                totals[name] += float(value)
            clock.lap("other")
        counter.advance(setup.number, steps=rollout.steps)
        refresh_target()
        clock.lap("other")
        yield Report(setup.number, updates, collector.pop_finished(), totals, clock.pop())
    collector.environments.close()


def make_networks(experiment: Experiment, info: EnvironmentInfo, shared: SharedState) -> Networks:
    """A worker's own network, and one whose parameters are θ⁻ itself if the algorithm has a target network."""
    online = make_network(experiment, info)
    if shared.target is None:
        return Networks(online)
    target = make_network(experiment, info)
    flatten_parameters(target, into=shared.target.tensor)
    target.normalizer = online.normalizer
    return Networks(online, target)


def target_refresher(setup: WorkerSetup) -> Callable[[], None]:
    """Does θ⁻ ← θ whenever the global step has passed a multiple of I_target.

    Worker 0 alone does it, so that it is done once and nobody waits.
    """
    shared, interval = setup.shared, setup.experiment.algorithm.target_interval
    refreshed_at = shared.counter.steps_before

    def refresh() -> None:
        nonlocal refreshed_at
        if shared.target is None or interval is None or setup.number != 0:
            return
        steps = shared.counter.steps
        if steps // interval != refreshed_at // interval:
            shared.target.tensor.copy_(shared.parameters.tensor)
            refreshed_at = steps

    return refresh


class ExploringPolicy:
    """The algorithm's way of acting while it learns; it keeps what the network computed on the way."""

    def __init__(
        self, algorithm: Algorithm, network: Network, environments: int, counter: Counter, random: torch.Generator
    ) -> None:
        self.network, self.counter = network, counter
        self.explore = algorithm.explorer(network, environments, random)
        # who looks ahead acts before an update and learns after it, with other parameters
        self.keeps_activations = not algorithm.look_ahead
        self.activations: list[tuple[Activations, ...]] = []

    def __call__(self, observations: Any, state: State, first: Tensor) -> tuple[Tensor, State]:
        """Actions [1, B, ...] and the next state, from observations [1, B, ...], state and first [1, B]."""
        with torch.no_grad():
            activations = self.network.activations(observations)
            outputs, state = self.network(observations, state, first, (activations,))
            if self.keeps_activations:
                self.activations.append(activations)
            return self.explore(outputs, self.counter.steps), state

    def pop_activations(self) -> tuple[tuple[Activations, ...], ...]:
        """Those of the rollout that has ended, one item for each of its steps."""
        activations, self.activations = tuple(self.activations), []
        return activations


def flat_observations(rollout: Rollout) -> Any:
    """All observations that were acted on, [T·B, ...]."""
    return tree_map(lambda rows: rows[:-1].flatten(0, 1), rollout.observations)


def learning_rate(experiment: Experiment, steps: int) -> float:
    """η after that many global steps."""
    settings = experiment.optimizer
    end = 0.0 if settings.schedule == "linear" else settings.learning_rate
    return schedules.linear(settings.learning_rate, end, steps, experiment.steps)
