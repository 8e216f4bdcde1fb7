"""Auxiliary tasks on top of any algorithm (Jaderberg et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrl.algorithms.base import Algorithm, reduce
from asyncrl.errors import UserError
from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
from asyncrl.memory.base import Memory
from asyncrl.memory.with_auxiliary_replay import Supplemented, with_auxiliary_replay
from asyncrl.search_ranges import Around, searched
from asyncrl.types import EnvironmentInfo, Loss, WorkerInfo

if TYPE_CHECKING:
    from asyncrl.auxiliary.base import AuxiliaryTask, TaskLoss
    from asyncrl.networks.assemble import Networks
    from asyncrl.networks.heads import Head

WEIGHTS = (
    "pixel_control",
    "reward_prediction",
    "value_replay",
    "feature_control",
    "input_reconstruction",
    "input_change_prediction",
)
"""Settings that are weights of tasks, each with the name of its task."""


class Weighted(NamedTuple):
    """A task and the weight of its loss."""

    task: AuxiliaryTask
    weight: float


@dataclass(frozen=True)
class AuxiliaryTasks(Algorithm):
    """What turns an algorithm into one with auxiliary tasks: a class inherits from this one and from the algorithm.

    The loss of each update is that of the algorithm plus, for each task, its weight times its loss on samples from a
    replay of the newest steps. A task whose weight is 0 has no head and draws nothing.
    """

    pixel_control: float = searched(0.05, Around(10), unless=("pixel_control", 0.0))
    """Weight of learning to change the image in each cell of a grid [λ_PC]. 0 turns it off, as with all tasks."""
    reward_prediction: float = searched(1.0, Around(10), unless=("reward_prediction", 0.0))
    """Weight of predicting whether the next reward is zero, positive or negative [λ_RP]."""
    value_replay: float = searched(1.0, Around(10), unless=("value_replay", 0.0))
    """Weight of learning the value from replayed steps too [λ_VR]."""
    feature_control: float = searched(0.0, Around(10), unless=("feature_control", 0.0))
    """Weight of learning to activate each unit of the last hidden layer."""
    input_reconstruction: float = searched(0.0, Around(10), unless=("input_reconstruction", 0.0))
    """Weight of reconstructing the image."""
    input_change_prediction: float = searched(0.0, Around(10), unless=("input_change_prediction", 0.0))
    """Weight of predicting how the chosen action changes the image."""
    auxiliary: tuple[str, ...] = ()
    """Your own auxiliary tasks, each as an import path module:Class."""
    auxiliary_weight: float = 1.0
    """Weight of each of your own auxiliary tasks."""
    auxiliary_steps: int = 2_000
    """Number of newest steps of each environment that auxiliary tasks draw from."""

    @property
    def learns_from_replay_alone(self) -> bool:
        """Auxiliary tasks have a replay of their own."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        for name in (*WEIGHTS, "auxiliary_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"--{name.replace('_', '-')} must be 0 or more, not {getattr(self, name)}")
        if self.auxiliary_steps < 1:
            raise UserError(f"--auxiliary-steps must be at least 1, not {self.auxiliary_steps}")
        if getattr(self, "save_replay", False):
            raise UserError("--save-replay does not go together with auxiliary tasks: leave it out")

    @cached_property
    def tasks(self) -> Mapping[str, Weighted]:
        """All tasks that have a weight, by name.

        Raises:
            UserError: One of the user's own cannot be imported or made, or two have one name.
        """
        if not self._has_tasks:
            return {}
        from asyncrl.auxiliary import TASKS, task_at

        weighted = [Weighted(TASKS[name](), getattr(self, name)) for name in WEIGHTS if getattr(self, name)]
        if self.auxiliary_weight:
            weighted += [Weighted(task_at(path), self.auxiliary_weight) for path in self.auxiliary]
        tasks = {each.task.name: each for each in weighted}
        if len(tasks) < len(weighted):
            raise UserError(f"two auxiliary tasks have one name: {', '.join(each.task.name for each in weighted)}")
        return tasks

    @property
    def _has_tasks(self) -> bool:
        """Whether any task has a weight."""
        return any(getattr(self, name) for name in WEIGHTS) or bool(self.auxiliary and self.auxiliary_weight)

    def auxiliary_heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """The heads of all tasks.

        Raises:
            UserError: A task makes no sense in such an environment, or needs a head that the algorithm does not have.
        """
        own = self.heads(info.action_space)
        heads: dict[str, Head] = {}
        for name, (task, _) in self.tasks.items():
            for missing in set(task.needs) - set(own):
                raise UserError(
                    f"{name} needs an algorithm with the head {missing!r}: turn it off"
                    + (f" with --{name.replace('_', '-')} 0" if name in WEIGHTS else "")
                )
            added = task.heads(info)
            for twice in set(added) & {*own, *heads}:
                raise UserError(f"the auxiliary task {name} has a head {twice!r}, and so has another: rename it")
            heads |= added
        return heads

    def make_memory(self, worker: WorkerInfo) -> Memory:
        """The algorithm's own memory, with the replay of the tasks beside it if there are any."""
        memory = super().make_memory(worker)
        if not self._has_tasks:
            return memory
        replay = AuxiliaryReplay(self.auxiliary_steps, self.rollout_length, worker)
        return with_auxiliary_replay(memory, replay, {name: each.task for name, each in self.tasks.items()})

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that the algorithm's own memory and the replay of the tasks take when they are full.

        Raises:
            UserError: The settings of the memories make no sense for so many environments.
        """
        replay = AuxiliaryReplay.bytes(self.auxiliary_steps, worker) if self._has_tasks else 0
        return super().memory_bytes(worker) + replay

    def loss(self, networks: Networks, experience: Any) -> Loss:
        """The algorithm's loss, plus the weighted losses of the tasks."""
        if not isinstance(experience, Supplemented):
            return super().loss(networks, experience)  # type: ignore[safe-super]
        loss = super().loss(networks, experience.main)  # type: ignore[safe-super]
        total, statistics = loss.total, dict(loss.statistics)
        for name, sample in experience.samples.items():
            task, weight = self.tasks[name]
            learned = task.loss(networks.online, sample)
            total = total + weight * reduce(learned.losses, learned.valid)
            statistics |= {**learned.statistics, f"{name}_loss": _mean(learned)}
        return replace(loss, total=total, statistics=statistics)


def _mean(learned: TaskLoss) -> Any:
    """The mean loss of the steps that count."""
    losses = learned.losses.detach() * learned.valid
    return losses.sum() / learned.valid.sum().clamp(min=1)
