"""The types that cross module borders: shapes use T (rollout length), B (environments), A (actions)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from asyncrl.tree import tree_map

if TYPE_CHECKING:
    from gymnasium.spaces import Space
    from torch import Tensor

OBSERVATION, LAST_ACTION, LAST_REWARD = "observation", "last_action", "last_reward"
"""Keys of observations to which the last action and the last reward were added."""
ACTION_MASK = "action_mask"
"""Key of observations that say which actions are allowed, and of an environment's info that says so."""

State = tuple["Tensor", ...]
"""Recurrent state, each tensor [B, H]; the empty tuple for a feed-forward network."""

Observations = "Tensor | Mapping[str, Tensor]"
"""One tensor, or one for each key of a Dict observation."""

Outputs = Mapping[str, "Tensor"]
"""A network's heads by name, each [T, B, ...]."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come; schedules depend on it."""

    steps: int  # global steps so far, over all workers [T]
    length: int  # steps of the whole run [T_max]

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return min(1.0, self.steps / self.length)


class Activations(NamedTuple):
    """What the torsos of a network computed of observations [1, B, ...] while acting, and with which parameters."""

    version: int  # of the network's parameters
    bodies: tuple[tuple[Tensor, ...], ...]  # of each body, what each layer gave, [B, ...]


class Decision(NamedTuple):
    """What a policy decides for observations [1, B, ...]."""

    actions: Tensor  # [1, B], or [1, B, D] where an action has several components
    state: State  # recurrent state after the observations
    behaviour: Outputs = MappingProxyType({})  # the heads' outputs [1, B, ...] that are kept with the actions
    activations: Activations | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """T steps of B environments, time-major.

    All arrays are views of the collector's buffer: they hold until the next rollout is collected. `kept` copies them.

    Environments reset themselves one step after an episode ends, so the step that follows an end is a dummy: it
    starts at the episode's final observation, its action is ignored and `valid` is false there.
    """

    observations: Any  # Observations: [T+1, B, ...], or that for each key
    actions: Tensor  # [T, B], or [T, B, D] where an action has several components
    rewards: Tensor  # [T, B], as learned from (clipped if the experiment says so)
    discounts: Tensor  # [T, B], γ, or 0 after a terminal state
    valid: Tensor  # [T, B] bool, false on dummy steps
    first: Tensor  # [T+1, B] bool, true where an observation is its episode's first
    state: State  # recurrent state before observations[0]
    next_actions: Tensor | None = None  # [B, ...], already chosen for observations[T] if the algorithm looks ahead
    behaviour: Outputs = field(default_factory=dict)  # [T, B, ...], outputs of the heads in `Algorithm.behaviour`
    activations: tuple[Activations, ...] = ()  # of the network that acted, step by step; `Network.unroll` uses them

    @property
    def steps(self) -> int:
        """Number of agent decisions in it: the dummy steps do not count."""
        return int(self.valid.sum())

    def kept(self) -> Rollout:
        """A copy that lasts, without the activations, which belong to parameters that soon are old ones."""
        return Rollout(
            observations=tree_map(lambda rows: rows.clone(), self.observations),
            actions=self.actions.clone(),
            rewards=self.rewards.clone(),
            discounts=self.discounts.clone(),
            valid=self.valid.clone(),
            first=self.first.clone(),
            state=tuple(tensor.clone() for tensor in self.state),
            next_actions=None if self.next_actions is None else self.next_actions.clone(),
            behaviour={name: rows.clone() for name, rows in self.behaviour.items()},
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """A scalar to differentiate, the numbers worth watching beside it, and what the memory should hear of it."""

    total: Tensor  # []
    statistics: Mapping[str, Tensor]  # each []
    feedback: Any = None  # for `Memory.learned`, such as the error of each item of a minibatch
    restart: bool = False  # whether a new fit begins, for which optimisers such as Rprop start anew


@dataclass(frozen=True, slots=True)
class Episode:
    """One finished episode: the undiscounted sum of unclipped rewards, its length in steps, and where it was played."""

    total_reward: float
    length: int
    environment: int  # its index among the worker's B


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker did since its last report; reports of one worker add up."""

    worker: int
    updates: int = 0
    episodes: tuple[Episode, ...] = ()
    totals: Mapping[str, float] = field(default_factory=dict)  # statistics, summed over the updates
    seconds: Mapping[str, float] = field(default_factory=dict)  # of each phase of its work
    dropped: int = 0  # updates that were not applied, see `metrics.DROPPED_UPDATES`

    def __add__(self, other: Report) -> Report:
        return Report(
            self.worker,
            self.updates + other.updates,
            self.episodes + other.episodes,
            _sum(self.totals, other.totals),
            _sum(self.seconds, other.seconds),
            self.dropped + other.dropped,
        )


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}


@dataclass(frozen=True, slots=True)
class EnvironmentInfo:
    """What the rest of the package needs to know of an environment without running it."""

    id: str  # the full id, with its version
    observation_space: Space[Any]  # of one environment as the agent sees it: a Box, or a Dict of them; no float64
    action_space: Space[Any]  # of one environment
    frames_per_step: int  # emulator frames per agent decision
    frame_stack: int = 1  # frames in an image, along its channels, newest last, zeros before an episode's first frame
    raw_observation_space: Space[Any] | None = None  # what the environment itself gives, where agents see it converted

    @property
    def given_space(self) -> Space[Any]:
        """Space of the environment's own observations, which `asyncrl.envs.observations` converts for the agent."""
        return self.observation_space if self.raw_observation_space is None else self.raw_observation_space

    @property
    def masked(self) -> bool:
        """Whether observations hold a mask of the allowed actions."""
        return ACTION_MASK in (getattr(self.observation_space, "spaces", None) or ())


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of an environment, by which a preset may choose its algorithm and settings."""

    observations: Literal["states", "vectors", "images"] = "vectors"
    """states: the number of a state (a Discrete space). images: pictures, also beside other observations."""
    actions: Literal["discrete", "several", "continuous"] = "discrete"
    """several: several discrete choices at once (a MultiDiscrete space)."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker's memory is made for."""

    environment: EnvironmentInfo
    environments: int  # of this worker [B]
    number: int  # of this worker, counted from 0
    workers: int  # of the run, which share a memory's capacity
    recurrent: bool = False  # whether its network has a recurrent core, as far as settings tell


@dataclass(frozen=True, slots=True)
class Video:
    """One episode as an animated gif."""

    gif: bytes
    width: int  # in pixels
    height: int
    length: int  # of what it shows, in steps
    total_reward: float  # of what it shows, unclipped


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Statistics of the undiscounted, unclipped returns of whole episodes. Lengths are in steps."""

    episodes: int
    return_mean: float
    return_std: float
    return_min: float
    return_max: float
    length_mean: float
    unfinished: int = 0  # episodes that had not ended after the most steps that are played; counted as they were then

    def to_dict(self) -> dict[str, float]:
        """Returns the same as plain data, without `unfinished` if every episode ended."""
        return {name: value for name, value in asdict(self).items() if value or name != "unfinished"}
