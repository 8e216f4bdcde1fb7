"""The worker: the paper's actor-learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from asyncrl.algorithms.base import Algorithm
from asyncrl.algorithms.exploring import RememberingExplorer
from asyncrl.config import Experiment
from asyncrl.envs.make import make_environments
from asyncrl.errors import UserError
from asyncrl.memory.base import Memory, SavedMemory
from asyncrl.networks.assemble import Network
from asyncrl.optim.hogwild import gradients
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.denormals import flushed_denormals
from asyncrl.runtime.exploration_bonus import ExplorationBonus
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.reward_normalizer import RewardNormalizer
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.runtime.store import Store, StoreHandle
from asyncrl.types import Decision, EnvironmentInfo, Report, State, WorkerInfo


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is started with."""

    number: int
    experiment: Experiment
    info: EnvironmentInfo
    store: StoreHandle
    folder: Path  # of the run
    session: int = 1  # of the run, counted up with each resume
    attempt: int = 0  # of this worker in this session, counted up with each restart

    @property
    def seed(self) -> np.random.SeedSequence:
        """A seed that no other worker, session or attempt has."""
        key = (self.number, self.attempt) if self.attempt else (self.number,)
        return np.random.SeedSequence([self.experiment.seed, self.session], spawn_key=key)

    @property
    def worker_info(self) -> WorkerInfo:
        """What the worker's memory and its exploration are made for."""
        experiment = self.experiment
        return WorkerInfo(self.info, experiment.environment_count, self.number, experiment.worker_count)

    def make_memory(self) -> Memory:
        """The worker's memory, empty."""
        return self.experiment.algorithm.make_memory(self.worker_info)

    def make_worker(self) -> Working:
        """What works: a worker that acts and learns."""
        return Worker(self)


class Working(Protocol):
    """What a worker's process runs."""

    @property
    def setup(self) -> WorkerSetup:
        """What it was started with."""
        ...

    @property
    def memory(self) -> Any:
        """What it learns from or fills."""
        ...

    @property
    def clock(self) -> PhaseClock:
        """Measures the phases of its work."""
        ...

    def work(self) -> Iterator[Report]:
        """Works until the run's steps are done, and reports."""
        ...

    def close(self) -> None:
        """Releases what it holds."""
        ...


class Restored(Enum):
    """How much of a snapshot a worker could take up; the value says what is missing."""

    COMPLETELY = ""
    WITH_NEW_EPISODES = (
        "the environments cannot repeat their episodes (they draw random numbers of their own, or their number has "
        "changed): they begin new ones"
    )
    WITHOUT_MEMORY = "the algorithm's memory was not saved: it begins empty"


class Worker:
    """The paper's actor-learner (Mnih et al. 2016, Algorithms S2 and S3), between a memory and a store.

    Args:
        setup: What it works on.
        keep_actions: Remember what is needed for a `snapshot`.

    Raises:
        UserError: The environments cannot be made, or give what they do not promise.
    """

    def __init__(self, setup: WorkerSetup, keep_actions: bool = False) -> None:
        self.setup, experiment = setup, setup.experiment
        environment_seed, action_seed = (int(seed) >> 2 for seed in setup.seed.generate_state(2))  # emulators: 31 bits
        environments = experiment.environment_count

        self.algorithm, self.random = experiment.algorithm, torch.Generator().manual_seed(action_seed)
        self.clock = PhaseClock(setup.store.pulse(setup.number))
        self.store, self.networks = setup.store.connect(experiment, setup.info, setup.number, setup.folder, self.clock)
        self.memory = setup.make_memory()
        self.rewards = RewardNormalizer(environments, self.algorithm.discount) if experiment.normalize_rewards else None
        self.bonus = ExplorationBonus.of(experiment, setup.info)
        self.policy = ExploringPolicy(self.algorithm, self.networks.online, setup.worker_info, self.store, self.random)
        self.collector = Collector(
            self._make_environments(),
            self.networks.online.initial_state(environments),
            RolloutRules.of(experiment),
            environment_seed,
            source=f"{setup.info.id}, worker {setup.number}",
            clock=self.clock,
            keep_actions=keep_actions,
        )

    def _make_environments(self) -> VectorEnv[Any, Any, Any]:
        experiment = self.setup.experiment
        try:
            return make_environments(experiment, experiment.environment_count, masked=self.setup.info.masked)
        except UserError as error:
            if self.setup.attempt == 0:
                raise
            raise RuntimeError(str(error)) from error  # they could be made before, and may be again

    def work(self) -> Iterator[Report]:
        """Acts, learns and reports until the run's steps are done."""
        while not self.store.done:
            yield self.turn()

    def turn(self) -> Report:
        """One rollout, and the updates that are learned from it and from what the memory kept."""
        store, memory, networks = self.store, self.memory, self.networks
        self.clock.restart()
        store.pull(networks)  # θ' ← θ
        rollout = self.collector.collect(self.policy)  # T × B steps
        if self.bonus is not None:
            self.bonus.add(rollout, store.visits_with)
        if self.rewards is not None:
            self.rewards.normalize(rollout, store.variance_with)
        with flushed_denormals():
            memory.add(rollout)
            for item, experience in enumerate(memory.draw(networks, self.random, store.progress)):
                if item:  # the first one is learned with the θ' that acted
                    store.pull(networks)
                loss = self.algorithm.loss(networks, experience)
                if store.push(gradients(loss.total, networks.online), loss, experience):
                    memory.learned(experience, loss.feedback)
        return store.advance(networks, rollout, self.collector.pop_finished())

    def close(self) -> None:
        """Closes its environments."""
        self.collector.environments.close()

    def snapshot(self) -> dict[str, Tensor]:
        """What decides what it does next, beside its memory; for a worker that keeps its actions."""
        tensors = {"random": self.random.get_state(), **self.collector.snapshot()}
        if self.rewards is not None:
            tensors["running_returns"] = self.rewards.returns.clone()
        explore = self.policy.explore
        if isinstance(explore, RememberingExplorer):
            tensors["exploration"] = explore.memory.clone()
        return tensors

    def save_memory(self, file: Path) -> None:
        """Writes its memory to a file, if it can be saved."""
        if isinstance(self.memory, SavedMemory):
            self.memory.save(file)

    def restore(self, tensors: Mapping[str, Tensor], memory: Path | None) -> Restored:
        """Goes on from a snapshot of a worker with the same setup.

        Args:
            tensors: The snapshot.
            memory: The file that `save_memory` wrote, if it wrote one.
        """
        if not self.collector.restore(tensors):
            return Restored.WITH_NEW_EPISODES
        self.random.set_state(tensors["random"])
        if self.rewards is not None and "running_returns" in tensors:
            self.rewards.returns = tensors["running_returns"].clone()
        explore = self.policy.explore
        if isinstance(explore, RememberingExplorer) and "exploration" in tensors:
            explore.memory = tensors["exploration"].clone()
        if not isinstance(self.memory, SavedMemory):
            return Restored.WITHOUT_MEMORY
        if memory is not None:
            self.memory.load(memory)
        return Restored.COMPLETELY


class ExploringPolicy:
    """The algorithm's way of acting while it learns."""

    def __init__(
        self, algorithm: Algorithm, network: Network, worker: WorkerInfo, store: Store, random: torch.Generator
    ) -> None:
        self.network, self.store, self.behaviour = network, store, algorithm.behaviour
        self.explore = algorithm.explorer(network, worker, random)

    def __call__(self, observations: Any, state: State, first: Tensor) -> Decision:
        """Decides for observations [1, B, ...], given the recurrent state and first [1, B]."""
        with torch.no_grad(), flushed_denormals():
            outputs, state, activations = self.network.act(observations, state, first)
            actions = self.explore(outputs, self.store.progress)
        return Decision(actions, state, {name: outputs[name] for name in self.behaviour}, activations)
