"""The worker: the paper's actor-learner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from asyncrl.algorithms.base import Algorithm, Memory, Networks
from asyncrl.config import Experiment
from asyncrl.envs.make import make_environments
from asyncrl.errors import UserError
from asyncrl.functional import schedules
from asyncrl.networks.assemble import Network, flatten_parameters
from asyncrl.networks.convolution import Activations
from asyncrl.optim.hogwild import clip, gradients, make_optimizer
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.denormals import flushed_denormals
from asyncrl.runtime.guard import UpdateGuard
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.rollout_buffer import RewardRule
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
    folder: Path  # of the run
    session: int = 1  # of the run, counted up with each resume
    attempt: int = 0  # of this worker in this session, counted up with each restart

    @property
    def seed(self) -> np.random.SeedSequence:
        """A seed that no other worker, session or attempt has."""
        key = (self.number, self.attempt) if self.attempt else (self.number,)
        return np.random.SeedSequence([self.experiment.seed, self.session], spawn_key=key)


class Restored(Enum):
    """How much of a snapshot a worker could take up; the value says what is missing."""

    COMPLETELY = ""
    WITH_NEW_EPISODES = (
        "the environments cannot repeat their episodes (they draw random numbers of their own, or their number has "
        "changed): they begin new ones"
    )
    WITHOUT_MEMORY = "the algorithm's memory was not saved: it begins empty"


class Worker:
    """The paper's actor-learner (Mnih et al. 2016, Algorithms S2 and S3).

    Args:
        setup: What it works on.
        keep_actions: Remember what is needed for a `snapshot`.

    Raises:
        UserError: The environments cannot be made, or give what they do not promise.
    """

    def __init__(self, setup: WorkerSetup, keep_actions: bool = False) -> None:
        self.setup, self.shared, self.experiment = setup, setup.shared, setup.experiment
        experiment, self.algorithm, self.counter = setup.experiment, setup.experiment.algorithm, setup.shared.counter
        environment_seed, action_seed = (int(seed) >> 2 for seed in setup.seed.generate_state(2))  # emulators: 31 bits

        self.random = torch.Generator().manual_seed(action_seed)
        self.networks = make_networks(experiment, setup.info, setup.shared)
        self.parameters = setup.shared.parameters.tensor  # θ
        self.local_parameters = flatten_parameters(self.networks.online)  # θ'
        statistics = {name: vector.tensor for name, vector in setup.shared.statistics.items()}
        self.optimizer = make_optimizer(
            experiment.optimizer, self.parameters, statistics, setup.number, updates=lambda: self.counter.updates
        )
        self.guard = UpdateGuard(setup.number, setup.folder)
        self.memory = self.algorithm.make_memory(self.networks, experiment.environment_count)
        self.policy = ExploringPolicy(
            self.algorithm, self.networks.online, experiment.environment_count, self.counter, self.random
        )
        self.clock = PhaseClock(self.counter.pulse(setup.number))
        self.collector = Collector(
            self._make_environments(),
            self.networks.online.initial_state(experiment.environment_count),
            self.algorithm.rollout_length,
            self.algorithm.discount,
            RewardRule(experiment.reward_clip, experiment.reward_scale),
            experiment.episode_rollouts,
            environment_seed,
            self.algorithm.look_ahead,
            source=f"{setup.info.id}, worker {setup.number}",
            clock=self.clock,
            keep_actions=keep_actions,
        )

    def _make_environments(self) -> VectorEnv[Any, Any, Any]:
        try:
            return make_environments(self.experiment, self.experiment.environment_count)
        except UserError as error:
            if self.setup.attempt == 0:
                raise
            raise RuntimeError(str(error)) from error  # they could be made before, and may be again

    def work(self) -> Iterator[Report]:
        """Acts, learns and reports until the run's steps are done."""
        while not self.is_done:
            yield self.turn()

    @property
    def is_done(self) -> bool:
        """Whether the run's steps are done, or the run is to stop."""
        return self.counter.reached(self.experiment.steps)

    def close(self) -> None:
        """Closes its environments."""
        self.collector.environments.close()

    def turn(self) -> Report:
        """One rollout, and the updates that are learned from it."""
        number, clock = self.setup.number, self.clock
        clock.restart()
        with self.shared.lock:
            self.local_parameters.copy_(self.parameters)  # θ' ← θ
        self.take_moments()
        rollout = replace(self.collector.collect(self.policy), activations=self.policy.pop_activations())  # T × B steps
        self.give_moments(rollout)
        clock.lap("other")
        with flushed_denormals():
            updates, totals = self.learn(rollout)
        episodes = self.collector.pop_finished()
        self.counter.advance(number, steps=rollout.steps, episodes=len(episodes))
        self.refresh_target()
        clock.lap("other")
        return Report(number, updates, episodes, totals, clock.pop(), self.guard.pop())

    def learn(self, rollout: Rollout) -> tuple[int, dict[str, float]]:
        """Makes the updates of a rollout. Returns their number, and the sum of each of their statistics."""
        number, clock = self.setup.number, self.clock
        updates, totals = 0, defaultdict[str, float](float)
        for experience in self.algorithm.experience(rollout, self.memory, self.networks, self.random):
            loss = self.algorithm.loss(self.networks, experience)
            gradient, norm = clip(
                gradients(loss.total, self.networks.online), self.experiment.optimizer.max_gradient_norm
            )
            clock.lap("learn")
            if not self.guard.passes(loss, norm, rollout):
                continue
            with self.shared.lock:  # none, unless the experiment asks for one
                self.optimizer.apply(gradient, learning_rate(self.experiment, self.counter.steps))
            clock.lap("update")
            self.counter.advance(number, updates=1)
            updates += 1
            totals["gradient_norm"] += norm
            for name, value in loss.statistics.items():
                totals[name] += float(value)
            clock.lap("other")
        return updates, totals

    def take_moments(self) -> None:
        """Normalises observations by what all workers have seen, where they are normalised."""
        normalizer, moments = self.networks.online.normalizer, self.shared.moments
        if normalizer is not None and moments is not None:
            normalizer.set(moments.combined)

    def give_moments(self, rollout: Rollout) -> None:
        """Adds what was acted on to what all workers have seen, where observations are normalised."""
        normalizer, moments = self.networks.online.normalizer, self.shared.moments
        if normalizer is not None and moments is not None:
            moments.observe(self.setup.number, normalizer.vectors(flat_observations(rollout)))

    def refresh_target(self) -> None:
        """Does θ⁻ ← θ if the global step has passed a multiple of I_target.

        Two workers that see it at the same time both do it; nobody waits.
        """
        interval, target, steps = self.algorithm.target_interval, self.shared.target, self.counter.steps
        if target is None or interval is None or steps // interval == self.counter.refreshed_at // interval:
            return
        self.counter.refreshed_at = steps
        target.tensor.copy_(self.parameters)

    def snapshot(self) -> dict[str, Tensor]:
        """Everything of its own that decides what it does next; for a worker that keeps its actions."""
        memory = self.memory.tensors() if isinstance(self.memory, Memory) else {}
        return {
            "random": self.random.get_state(),
            **{f"memory/{name}": tensor.clone() for name, tensor in memory.items()},
            **self.collector.snapshot(),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> Restored:
        """Goes on from a snapshot of a worker with the same setup."""
        if not self.collector.restore(tensors):
            return Restored.WITH_NEW_EPISODES
        self.random.set_state(tensors["random"])
        if isinstance(self.memory, Memory):
            prefix = "memory/"
            self.memory.restore({n.removeprefix(prefix): t.clone() for n, t in tensors.items() if n.startswith(prefix)})
        is_whole = self.memory is None or isinstance(self.memory, Memory)
        return Restored.COMPLETELY if is_whole else Restored.WITHOUT_MEMORY


def make_networks(experiment: Experiment, info: EnvironmentInfo, shared: SharedState) -> Networks:
    """A worker's own network, and one whose parameters are θ⁻ itself if the algorithm has a target network."""
    online = make_network(experiment, info)
    if shared.target is None:
        return Networks(online)
    target = make_network(experiment, info)
    flatten_parameters(target, into=shared.target.tensor)
    target.normalizer = online.normalizer
    return Networks(online, target)


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
        with torch.no_grad(), flushed_denormals():
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
