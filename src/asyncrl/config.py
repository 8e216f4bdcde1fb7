"""`Experiment`: every setting that decides a run, one frozen dataclass tree, and its YAML form."""

from __future__ import annotations

import dataclasses
import math
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import dacite

from asyncrl.algorithms import algorithm_class, algorithm_name
from asyncrl.algorithms.base import Algorithm
from asyncrl.errors import UserError
from asyncrl.settings import NetworkSettings, OptimizerSettings, SupervisionSettings, require

Settings = TypeVar("Settings")

LARGEST_SEED = 2**30

GROUPS = ("algorithm", "network", "optimizer", "supervision")
"""Settings of an experiment that hold further settings."""


@dataclass(frozen=True)
class Experiment:
    """All that decides a run; two runs of one experiment differ by the workers' timing alone."""

    environment: str
    """Gymnasium id, such as CartPole-v1, ALE/Pong-v5 or my_module:MyEnv-v0."""
    algorithm: Algorithm
    network: NetworkSettings = field(default_factory=NetworkSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    supervision: SupervisionSettings = field(default_factory=SupervisionSettings)
    environment_options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    reward_clip: float | None = None
    """Rewards are clipped to ± this for learning; reported returns are never clipped."""
    reward_scale: float = 1.0
    """Rewards are then multiplied by this for learning: values near 1 are learned fastest."""
    steps: int = 1_000_000
    """Agent decisions in the whole run, over all workers [T_max]."""
    until_return: float | None = None
    """Stop early once the agent reaches this mean return in an evaluation of --goal-episodes whole episodes."""
    until_seconds: float | None = None
    """Stop early after so many seconds of training, all sessions of the run together."""
    workers: int | Literal["auto"] = "auto"
    """Actor-learners; auto: one for each core this process may use."""
    envs_per_worker: int | Literal["auto"] = 16
    """Environments of each worker [B]; auto: by the kind of environment. 1 with --episode-rollouts is the paper's."""
    episode_rollouts: bool = False
    """End rollouts where an episode ends, as the paper does; needs one environment per worker."""
    runtime: Literal["processes", "serial"] = "processes"
    """serial: all workers take turns in this process, deterministic in the seed."""
    seed: int = 1
    """Of parameters, environments and exploration."""
    preset: str = ""
    """Where the settings started from."""

    def __post_init__(self) -> None:
        require(self.steps > 0, f"--steps must be positive, not {self.steps}")
        require(self.until_seconds is None or self.until_seconds > 0, "--until-seconds must be positive, or None")
        require(
            self.workers == "auto" or self.workers > 0,
            f"--workers must be at least 1, or auto, not {self.workers}",
        )
        require(
            self.envs_per_worker == "auto" or self.envs_per_worker > 0,
            f"--envs-per-worker must be at least 1, or auto, not {self.envs_per_worker}",
        )
        require(
            not self.episode_rollouts or self.envs_per_worker == 1,
            "--episode-rollouts needs --envs-per-worker 1: several environments do not end their episodes together",
        )
        require(self.reward_clip is None or self.reward_clip > 0, "--reward-clip must be positive, or None")
        require(0 < self.reward_scale < math.inf, "--reward-scale must be positive and finite")
        check_seed(self.seed)

    @property
    def worker_count(self) -> int:
        """Number of workers, `auto` resolved on this machine."""
        return available_cores() if self.workers == "auto" else self.workers

    @property
    def environment_count(self) -> int:
        """B, which `with_chosen_environments` puts in the place of `auto`."""
        if self.envs_per_worker == "auto":
            raise ValueError("the number of environments has not been chosen yet")
        return self.envs_per_worker


def with_drawn_learning_rate(experiment: Experiment) -> Experiment:
    """The experiment with its learning rate drawn LogUniform(`learning_rate_range`) by its seed, if it has a range."""
    if experiment.optimizer.learning_rate_range is None:
        return experiment
    low, high = (math.log(bound) for bound in experiment.optimizer.learning_rate_range)
    rate = math.exp(random.Random(experiment.seed).uniform(low, high))
    optimizer = dataclasses.replace(experiment.optimizer, learning_rate=float(f"{rate:.4g}"))
    return dataclasses.replace(experiment, optimizer=optimizer)


def with_fixed_learning_rate(experiment: Experiment, start: Experiment) -> Experiment:
    """The experiment with the learning rate that was given by hand, in place of a preset's range.

    Raises:
        UserError: A range was given by hand too.
    """
    given = experiment.optimizer.learning_rate_range
    require(
        given is None or given == start.optimizer.learning_rate_range,
        "--learning-rate and --learning-rate-range cannot both be given",
    )
    return dataclasses.replace(
        experiment, optimizer=dataclasses.replace(experiment.optimizer, learning_rate_range=None)
    )


def setting(experiment: Experiment | Mapping[str, Any], name: str) -> Any:
    """A setting's value by its own name, wherever in the tree it stands; `algorithm` gives the algorithm's name.

    Args:
        experiment: An experiment, or what `to_dict` made of it, of which nothing is imported.
        name: Of the setting.

    Raises:
        UserError: There is no such setting.
    """
    data = to_dict(experiment) if isinstance(experiment, Experiment) else experiment
    algorithm = _mapping(data.get("algorithm"), "'algorithm'").get("name")
    if name == "algorithm":
        return algorithm
    for part in (*(data.get(group, {}) for group in GROUPS), data):  # the optimizer's own name before its group's
        if name in _mapping(part, "a group of settings"):
            value = part[name]
            return available_cores() if (name, value) == ("workers", "auto") else value
    raise UserError(f"{algorithm} has no setting {name!r}")


def named_modules(data: Mapping[str, Any]) -> set[str]:
    """Modules of other people that an experiment, as `to_dict` makes it, would import."""
    network = data.get("network")
    paths = [
        str(_mapping(data.get("algorithm"), "'algorithm'").get("name", "")),
        str(network.get("torso", "")) if isinstance(network, Mapping) else "",
        str(data.get("environment", "")),
    ]
    return {path.split(":", 1)[0] for path in paths if ":" in path}


def check_seed(seed: int) -> None:
    """Refuses seeds that some emulator or random generator would not take.

    Raises:
        UserError: It is negative or too large.
    """
    require(0 <= seed <= LARGEST_SEED, f"--seed must lie between 0 and {LARGEST_SEED}, not {seed}")


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Plain data (strings, numbers, lists, dicts) that `from_dict` reads back."""
    data = dataclasses.asdict(experiment)
    data["algorithm"] = {"name": algorithm_name(experiment.algorithm), **data["algorithm"]}
    return _with_lists(data)  # type: ignore[no-any-return]


def _with_lists(value: Any) -> Any:
    """YAML has no tuples."""
    if isinstance(value, Mapping):
        return {key: _with_lists(part) for key, part in value.items()}
    return [_with_lists(part) for part in value] if isinstance(value, tuple) else value


def from_dict(data: object) -> Experiment:
    """The experiment that `to_dict` wrote.

    Raises:
        UserError: A key is unknown or missing, or a value has the wrong type or makes no sense.
    """
    fields = dict(_mapping(data, "an experiment"))
    settings = dict(_mapping(fields.get("algorithm"), "'algorithm'"))
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise UserError("the experiment does not name its algorithm: add a line 'name: a3c' under 'algorithm:'")
    fields["algorithm"] = _build(algorithm_class(name), settings)
    return _build(Experiment, fields)


def _build(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    try:
        return dacite.from_dict(cls, values, dacite.Config(strict=True, cast=[tuple], type_hooks={float: float}))
    except (dacite.DaciteError, TypeError, ValueError) as error:
        raise UserError(f"these settings cannot be used: {error}") from error


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{what} should hold lines 'setting: value', not {value!r}")
    return value
