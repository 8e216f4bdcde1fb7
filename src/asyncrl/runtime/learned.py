"""Everything a run learns: allocated in shared memory, put into checkpoints and taken from them."""

from __future__ import annotations

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
from asyncrl.runtime.networks import make_network
from asyncrl.runtime.shared import Counter, Counts, SharedMoments, SharedVector
from asyncrl.runtime.store import SharedState
from asyncrl.tree import pack
from asyncrl.types import EnvironmentInfo


def is_evaluated(experiment: Experiment) -> bool:
    """Whether copies of the agent are evaluated during training."""
    return experiment.supervision.eval_every is not None or experiment.until_return is not None


class Learned:
    """The shared memory of a run's workers.

    Args:
        experiment: Whose.
        info: Its environment.
        context: That starts its workers.

    Raises:
        UserError: There is no room for it.
    """

    def __init__(self, experiment: Experiment, info: EnvironmentInfo, context: BaseContext) -> None:
        self.info, self.optimizer = info, experiment.optimizer.optimizer
        self.network = make_network(experiment, info)  # of the supervisor; not kept up to date
        self.parameters = flatten_parameters(self.network)  # its own, [P]
        size, workers, normalizer = self.parameters.numel(), experiment.worker_count, self.network.normalizer
        names = statistic_names(self.optimizer, workers)
        has_target = experiment.algorithm.target_update is not None
        check_shared_memory([4 * size] * (1 + len(names) + has_target + is_evaluated(experiment)))
        self.shared = SharedState(
            parameters=SharedVector(size, context),
            target=SharedVector(size, context) if has_target else None,
            statistics={name: SharedVector(size, context) for name in names},
            moments=None if normalizer is None else SharedMoments(workers, normalizer.size, context),
            counter=Counter(workers, context),
            lock=context.Lock() if experiment.optimizer.lock else nullcontext(),
            refresh_lock=context.Lock() if has_target else None,
        )
        self._share()

    def _share(self) -> None:
        """θ and θ⁻ become the network's parameters."""
        self.shared.parameters.tensor.copy_(self.parameters)
        if self.shared.target is not None:
            self.shared.target.tensor.copy_(self.parameters)

    def agent_tensors(self, frozen: Frozen | None = None) -> dict[str, Tensor]:
        """What an agent acts by, for a checkpoint: of this moment, or of an earlier one."""
        vector, moments = (self.shared.parameters, self.shared.moments) if frozen is None else frozen.parts
        self.parameters.copy_(vector.tensor)
        if moments is not None and self.network.normalizer is not None:
            self.network.normalizer.set(moments.combined)
        return pack(PARAMETERS, self.network.state_dict())

    def snapshot(self) -> tuple[dict[str, Tensor], int]:
        """Copies all that is learned, for a checkpoint, together with the step of the target network's last refresh.

        The step is read before θ⁻, and a refresh copies θ⁻ before it sets the step. So θ⁻ is never older than the step
        says: if a refresh comes in between, a resumed run repeats it.
        """
        refreshed_at = self.shared.counter.refreshed_at
        shared, tensors = self.shared, self.agent_tensors()
        if shared.moments is not None:
            tensors["moments"] = shared.moments.slots
        if shared.target is not None:
            tensors["target"] = shared.target.tensor.clone()
        statistics = {name: vector.tensor.clone() for name, vector in shared.statistics.items()}
        return tensors | pack("optimizer", statistics), refreshed_at

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint.

        Raises:
            UserError: It does not fit the experiment.
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
        try:
            for name, vector in vectors.items():
                if name in saved or name == "target":  # a worker that is new in this session has no statistics yet
                    vector.tensor.copy_(saved[name])
            if shared.moments is not None:
                shared.moments.resume(saved["moments"])
        except (KeyError, RuntimeError) as error:
            raise UserError("the checkpoint does not fit the run's settings: was experiment.yaml changed?") from error


@dataclass(frozen=True)
class Frozen:
    """A copy of the agent's parameters in shared memory, which no worker writes to."""

    parameters: SharedVector  # [P]
    moments: SharedMoments | None  # one slot
    counter: Counter  # of no worker; its pulse is of who evaluates

    @classmethod
    def allocate(cls, learned: Learned, context: BaseContext) -> Frozen:
        """Room for a copy."""
        normalizer = learned.network.normalizer
        return cls(
            SharedVector(learned.parameters.numel(), context),
            None if normalizer is None else SharedMoments(0, normalizer.size, context),
            Counter(0, context),
        )

    @property
    def pulse(self) -> NDArray[np.int64]:
        """A number [1] that counts up while the copy is evaluated."""
        return self.counter.pulse(0)

    def take(self, shared: SharedState) -> None:
        """Copies what the workers share at this moment."""
        self.parameters.tensor.copy_(shared.parameters.tensor)
        if self.moments is not None and shared.moments is not None:
            self.moments.store(0, shared.moments.combined)

    def give_back(self, shared: SharedState) -> None:
        """Copies the agent back to where the workers share it; they must have stopped."""
        shared.parameters.tensor.copy_(self.parameters.tensor)
        if self.moments is not None and shared.moments is not None:
            slots = torch.zeros_like(shared.moments.slots)
            slots[-1] = self.moments.slots[0]
            shared.moments.resume(slots)

    @property
    def parts(self) -> tuple[SharedVector, SharedMoments | None]:
        """The parameters, and the statistics of observations if those are normalised."""
        return self.parameters, self.moments
