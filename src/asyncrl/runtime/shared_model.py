"""The model that all workers of a run share: allocated in shared memory, saved in checkpoints and restored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.config import Experiment
from asyncrl.errors import UserError
from asyncrl.machine import check_shared_memory
from asyncrl.networks.assemble import flatten_parameters
from asyncrl.optim.hogwild import statistic_names
from asyncrl.runtime.checkpoint import PARAMETERS, Checkpoint, load_parameters
from asyncrl.runtime.exploration_bonus import CELLS, VISITS
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.reward_normalizer import RETURN_MOMENTS
from asyncrl.runtime.shared import Counter, Counts, SharedMoments, SharedVector, SharedVisits
from asyncrl.runtime.store import SharedState
from asyncrl.tree import pack
from asyncrl.types import EnvironmentInfo


def is_evaluated(experiment: Experiment) -> bool:
    """Whether copies of the agent are evaluated during training, or the agent after it."""
    settings = experiment.supervision
    return settings.eval_every is not None or experiment.until_return is not None or settings.final_episodes > 0


class SharedModel:
    """The parameters, optimiser statistics and observation statistics that all workers of a run share.

    Args:
        experiment: Settings of the run.
        info: The environment.
        context: Start method of the workers' processes.
        numbers: Workers whose own statistics of the optimiser it has; None for those of all workers.

    Raises:
        UserError: The shared memory is too small for it.
    """

    def __init__(
        self,
        experiment: Experiment,
        info: EnvironmentInfo,
        context: BaseContext,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.info, self.optimizer = info, experiment.optimizer.optimizer
        self.network = make_network(experiment, info)  # the supervisor's own; only `agent_tensors` brings it up to date
        self.parameters = flatten_parameters(self.network)  # of that network, [P]
        size, workers, normalizer = self.parameters.numel(), experiment.worker_count, self.network.normalizer
        names = statistic_names(self.optimizer, range(workers) if numbers is None else numbers)
        has_target = experiment.algorithm.target_update is not None
        has_bonus = experiment.exploration_bonus != "none"
        sums_gradients = experiment.runtime == "ray" and experiment.cluster.exchange == "gradients"
        vectors = 1 + len(names) + has_target + is_evaluated(experiment) + sums_gradients
        check_shared_memory([4 * size] * vectors + [4 * CELLS] * has_bonus)
        self.shared = SharedState(
            parameters=SharedVector(size, context),
            target=SharedVector(size, context) if has_target else None,
            statistics={name: SharedVector(size, context) for name in names},
            moments=None if normalizer is None else SharedMoments(workers, normalizer.size, context),
            return_moments=SharedMoments(workers, 1, context) if experiment.normalize_rewards else None,
            visits=SharedVisits(CELLS, context) if has_bonus else None,
            counter=Counter(workers, context),
            lock=context.Lock() if experiment.optimizer.lock else nullcontext(),
            refresh_lock=context.Lock() if has_target else None,
            gradients=SharedVector(size, context) if sums_gradients else None,
        )
        self._share()

    def _share(self) -> None:
        """Sets θ and θ⁻ to the parameters of the supervisor's network."""
        self.shared.parameters.tensor.copy_(self.parameters)
        if self.shared.target is not None:
            self.shared.target.tensor.copy_(self.parameters)

    def agent_tensors(self, snapshot: ParameterSnapshot | None = None) -> dict[str, Tensor]:
        """The tensors that an agent acts with, for a checkpoint: those of a snapshot, or the present ones."""
        source = self.shared if snapshot is None else snapshot
        self.parameters.copy_(source.parameters.tensor)
        if source.moments is not None and self.network.normalizer is not None:
            self.network.normalizer.set(source.moments.combined)
        return pack(PARAMETERS, self.network.state_dict())

    def return_tensors(self) -> dict[str, Tensor]:
        """The present moments of the discounted returns, for a checkpoint; nothing if rewards are not normalised."""
        moments = self.shared.return_moments
        return {} if moments is None else {RETURN_MOMENTS: moments.slots}

    def checkpoint_tensors(self) -> tuple[dict[str, Tensor], int]:
        """The tensors of a whole run for a checkpoint, and the step of the target network's last refresh.

        The step is read before θ⁻, and a refresh copies θ⁻ before it sets the step. So θ⁻ is never older than the step
        says: if a refresh comes in between, a resumed run repeats it.
        """
        refreshed_at = self.shared.counter.refreshed_at
        shared, tensors = self.shared, self.agent_tensors()
        if shared.moments is not None:
            tensors["moments"] = shared.moments.slots
        tensors |= self.return_tensors()
        if shared.visits is not None:
            tensors[VISITS] = shared.visits.counts.clone()
        if shared.target is not None:
            tensors["target"] = shared.target.tensor.clone()
        statistics = {name: vector.tensor.clone() for name, vector in shared.statistics.items()}
        return tensors | pack("optimizer", statistics), refreshed_at

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continues from a checkpoint.

        Raises:
            UserError: The checkpoint does not fit the experiment.
        """
        load_parameters(self.network, checkpoint, self.info)
        self._share()
        shared, saved, state = self.shared, checkpoint.tensors, checkpoint.state
        if state.optimizer != self.optimizer:
            raise UserError(f"the run was trained with --optimizer {state.optimizer}: resume with it")
        shared.counter.resume(Counts(state.steps, state.updates, state.telemetry.episodes))
        shared.counter.refreshed_at = state.target_refreshed_at
        vectors = pack("optimizer", shared.statistics)
        if shared.target is not None:
            vectors["target"] = shared.target
        if vectors and saved.keys().isdisjoint(vectors):
            raise UserError(
                "the run folder holds an agent alone, without what its optimiser needs: it cannot be trained further; "
                "start a new run with the settings in its experiment.yaml"
            )
        try:
            for name, vector in vectors.items():
                if name in saved or name == "target":  # a worker that is new in this session has no statistics yet
                    vector.tensor.copy_(saved[name])
            if shared.moments is not None:
                shared.moments.resume(saved["moments"])
            if shared.return_moments is not None:
                shared.return_moments.resume(saved[RETURN_MOMENTS])
            if shared.visits is not None:
                shared.visits.counts.copy_(saved[VISITS])
        except (KeyError, RuntimeError) as error:
            raise UserError("the checkpoint does not fit the run's settings: was experiment.yaml changed?") from error


@dataclass(frozen=True)
class ParameterSnapshot:
    """A copy of the agent's parameters in shared memory, which no worker writes to."""

    parameters: SharedVector  # [P]
    moments: SharedMoments | None  # one slot
    counter: Counter  # counts no worker's steps; its heartbeat is the evaluator's

    @classmethod
    def allocate(cls, model: SharedModel, context: BaseContext) -> ParameterSnapshot:
        """Allocates memory for a copy of the model's parameters."""
        normalizer = model.network.normalizer
        return cls(
            SharedVector(model.parameters.numel(), context),
            None if normalizer is None else SharedMoments(0, normalizer.size, context),
            Counter(0, context),
        )

    @property
    def pulse(self) -> NDArray[np.int64]:
        """Heartbeat [1] of the evaluator, which counts it up while it plays."""
        return self.counter.pulse(0)

    def take(self, shared: SharedState) -> None:
        """Copies the present shared parameters and observation statistics."""
        self.parameters.tensor.copy_(shared.parameters.tensor)
        if self.moments is not None and shared.moments is not None:
            self.moments.store(0, shared.moments.combined)

    def give_back(self, shared: SharedState) -> None:
        """Makes the snapshot the shared parameters again. All workers must have stopped."""
        shared.parameters.tensor.copy_(self.parameters.tensor)
        if self.moments is not None and shared.moments is not None:
            slots = torch.zeros_like(shared.moments.slots)
            slots[-1] = self.moments.slots[0]
            shared.moments.resume(slots)
