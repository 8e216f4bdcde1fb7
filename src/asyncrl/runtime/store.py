"""Where a worker's parameters come from and where its gradients go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asyncrl import metrics
from asyncrl.algorithms.base import Every, Towards
from asyncrl.config import Experiment
from asyncrl.functional import schedules
from asyncrl.networks.assemble import Networks, flatten_parameters
from asyncrl.networks.masks import split_mask
from asyncrl.optim.hogwild import GradientSum, HogwildOptimizer, clip, make_optimizer
from asyncrl.optim.rprop import Restartable
from asyncrl.runtime.guard import UpdateGuard
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.phases import PhaseClock
from asyncrl.runtime.shared import Counter, SharedMoments, SharedVector, SharedVisits
from asyncrl.tree import tree_map
from asyncrl.types import EnvironmentInfo, Episode, Loss, Progress, Report, Rollout


class Store(Protocol):
    """The parameters θ of a run and everything that belongs to them, as one worker sees them."""

    @property
    def done(self) -> bool:
        """Whether the run's steps are done, or the run is to stop."""
        ...

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        ...

    def pull(self, networks: Networks) -> None:
        """θ' ← θ, and the running moments of the observations where they are normalised."""
        ...

    def push(self, gradient: Tensor, loss: Loss, experience: Any) -> bool:
        """Applies a gradient to θ.

        Args:
            gradient: ∂loss/∂θ' as one vector [P]; it is clipped in place.
            loss: The loss.
            experience: What the loss is about.

        Returns:
            Whether it was applied; a loss or gradient that is not finite is not.

        Raises:
            RunError: Too many of them in a row were not finite.
        """
        ...

    def variance_with(self, returns: Tensor) -> Tensor:
        """Adds discounted returns [N] to those that all workers have seen, and gives the variance of all [].

        For runs that normalise rewards.
        """
        ...

    def visits_with(self, cells: Tensor) -> Tensor:
        """Adds visits of cells [N] to those of all workers, and gives the number of visits of each cell [N].

        For runs with an exploration bonus.
        """
        ...

    def advance(self, networks: Networks, rollout: Rollout, episodes: tuple[Episode, ...]) -> Report:
        """Counts a rollout that was collected and learned from, and reports what was done since the last report."""
        ...

    def report(self, episodes: tuple[Episode, ...] = ()) -> Report:
        """Reports what was done since the last report."""
        ...


class StoreHandle(Protocol):
    """What a worker is sent, from which it makes its store."""

    def pulse(self, worker: int) -> NDArray[np.int64]:
        """A number [1] that the worker counts up while it works."""
        ...

    def connect(
        self, experiment: Experiment, info: EnvironmentInfo, worker: int, folder: Path, clock: PhaseClock
    ) -> tuple[Store, Networks]:
        """One worker's store, and its networks, which the store keeps up to date.

        Args:
            experiment: The run's settings.
            info: The environment.
            worker: The worker's number.
            folder: The run's folder.
            clock: Measures the phases of the worker's work.
        """
        ...


@dataclass(frozen=True)
class SharedState:
    """Everything that the workers of one machine share; each of them makes its store from it."""

    parameters: SharedVector  # θ [P]
    target: SharedVector | None  # θ⁻ [P], for algorithms that have one
    statistics: Mapping[str, SharedVector]  # the optimiser's, each [P]
    moments: SharedMoments | None  # of observations, where they are normalised
    return_moments: SharedMoments | None  # of discounted returns, where rewards are normalised
    visits: SharedVisits | None  # of hashed observations, where there is an exploration bonus
    counter: Counter
    lock: AbstractContextManager[Any]  # around every worker's use of θ, or nothing: by default there is no lock
    refresh_lock: Any  # held by who copies θ to θ⁻; workers that find it taken go on without waiting
    gradients: SharedVector | None = (
        None  # sum of gradients [P] for a parameter server, which then applies the optimiser
    )

    def pulse(self, worker: int) -> NDArray[np.int64]:
        """A number [1] that the worker counts up while it works."""
        return self.counter.pulse(worker)

    def connect(
        self, experiment: Experiment, info: EnvironmentInfo, worker: int, folder: Path, clock: PhaseClock
    ) -> tuple[Store, Networks]:
        """One worker's store, and its networks, which the store keeps up to date; see `SharedMemoryStore`."""
        return SharedMemoryStore(experiment, self, worker, folder, clock), make_networks(experiment, info, self)


class SharedMemoryStore:
    """The store of workers on one machine: θ lies in shared memory, and every worker changes it without a lock.

    Args:
        experiment: The run's settings.
        shared: What the run's workers share.
        worker: The worker's number.
        folder: The run's folder.
        clock: Measures the phases of the worker's work.
    """

    def __init__(
        self, experiment: Experiment, shared: SharedState, worker: int, folder: Path, clock: PhaseClock
    ) -> None:
        self.experiment, self.shared, self.worker, self.clock = experiment, shared, worker, clock
        self.counter, self.parameters = shared.counter, shared.parameters.tensor
        self.target = None if shared.target is None else shared.target.tensor
        self.target_update = experiment.algorithm.target_update
        statistics = {name: vector.tensor for name, vector in shared.statistics.items()}
        self.optimizer: HogwildOptimizer | GradientSum = (
            make_optimizer(
                experiment.optimizer, self.parameters, statistics, worker, updates=lambda: self.counter.updates
            )
            if shared.gradients is None
            else GradientSum(shared.gradients.tensor)
        )
        self.guard = UpdateGuard(worker, folder, experiment.optimizer.outlier_deviations)
        self.updates, self.totals = 0, defaultdict[str, float](float)  # since the last report

    @property
    def done(self) -> bool:
        """Whether the run's steps are done, or the run is to stop."""
        return self.counter.reached(self.experiment.steps)

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return Progress(self.counter.steps, self.experiment.steps)

    def pull(self, networks: Networks) -> None:
        """θ' ← θ, and the running moments of the observations where they are normalised; θ⁻ is shared itself."""
        assert networks.online.flat is not None
        with self.shared.lock:  # no lock, unless the experiment asks for one
            networks.online.flat.copy_(self.parameters)
        if networks.online.normalizer is not None and self.shared.moments is not None:
            networks.online.normalizer.set(self.shared.moments.combined)
        self.clock.lap("other")

    def push(self, gradient: Tensor, loss: Loss, experience: Any) -> bool:
        """Applies a gradient to θ; see `Store.push`."""
        if loss.restart and isinstance(self.optimizer, Restartable):
            self.optimizer.restart()
        gradient, norm = clip(gradient, self.experiment.optimizer.max_gradient_norm)
        self.clock.lap("learn")
        if not self.guard.passes(loss, norm, experience):
            return False
        with self.shared.lock:
            self.optimizer.apply(gradient, learning_rate(self.experiment, self.counter.steps))
            if self.target is not None and isinstance(self.target_update, Towards):
                self.target.lerp_(self.parameters, 1 - self.target_update.decay)
        self.clock.lap("update")
        self.counter.advance(self.worker, updates=1)
        self.updates += 1
        self.totals[metrics.GRADIENT_NORM] += norm
        for name, value in loss.statistics.items():
            self.totals[name] += float(value)
        self.clock.lap("other")
        return True

    def variance_with(self, returns: Tensor) -> Tensor:
        """Adds this worker's returns to the shared moments; see `Store.variance_with`."""
        moments = self.shared.return_moments
        assert moments is not None
        if len(returns):
            moments.observe(self.worker, returns.unsqueeze(-1))
        return moments.combined.variance.squeeze()

    def visits_with(self, cells: Tensor) -> Tensor:
        """Adds this worker's visits to the shared ones; see `Store.visits_with`."""
        assert self.shared.visits is not None
        return self.shared.visits.add(cells)

    def advance(self, networks: Networks, rollout: Rollout, episodes: tuple[Episode, ...]) -> Report:
        """Counts a rollout, refreshes θ⁻ where it is due, and reports what was done since the last report."""
        normalizer = networks.online.normalizer
        if normalizer is not None and self.shared.moments is not None:
            seen, _ = split_mask(rollout.observations)
            observed = tree_map(lambda rows: rows[:-1].flatten(0, 1), seen)  # [T·B, ...]
            self.shared.moments.observe(self.worker, normalizer.vectors(observed))
        self.counter.advance(self.worker, steps=rollout.steps, episodes=len(episodes))
        self._refresh_target()
        return self.report(episodes)

    def report(self, episodes: tuple[Episode, ...] = ()) -> Report:
        """Reports what was done since the last report."""
        self.clock.lap("other")
        report = Report(self.worker, self.updates, episodes, self.totals, self.clock.pop(), self.guard.pop())
        self.updates, self.totals = 0, defaultdict[str, float](float)
        return report

    def _refresh_target(self) -> None:
        """θ⁻ ← θ if the global step has passed a multiple of I_target since the last refresh.

        One worker does it, and none waits for it. The mark is set after the copy, so that a worker that dies in between
        leaves the refresh to another one; the supervisor then frees the lock.
        """
        if self.target is None or not isinstance(self.target_update, Every):
            return
        interval, lock = self.target_update.steps, self.shared.refresh_lock
        if not self._is_refresh_due(interval) or not lock.acquire(block=False):
            return
        try:
            if self._is_refresh_due(interval):  # no other worker did it meanwhile
                steps = self.counter.steps
                self.target.copy_(self.parameters)
                self.counter.refreshed_at = steps
        finally:
            with suppress(ValueError):  # the supervisor took this worker for dead and freed the lock
                lock.release()

    def _is_refresh_due(self, interval: int) -> bool:
        return self.counter.steps // interval != self.counter.refreshed_at // interval


def make_networks(experiment: Experiment, info: EnvironmentInfo, shared: SharedState) -> Networks:
    """A worker's own network with the shared parameters, and one whose parameters are the shared θ⁻ itself."""
    online = make_network(experiment, info)
    flatten_parameters(online)
    if shared.target is None:
        return Networks(online)
    target = make_network(experiment, info)
    flatten_parameters(target, into=shared.target.tensor)
    target.normalizer = online.normalizer
    return Networks(online, target)


def learning_rate(experiment: Experiment, steps: int) -> float:
    """η after that many global steps."""
    settings = experiment.optimizer
    end = 0.0 if settings.schedule == "linear" else settings.learning_rate
    return schedules.linear(settings.learning_rate, end, steps, experiment.steps)
