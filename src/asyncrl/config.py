"""`Experiment`: every setting that decides a run, as one tree of frozen dataclasses, and its YAML form."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from asyncrl import given
from asyncrl.algorithms import algorithm_class, algorithm_name, owners_of
from asyncrl.algorithms.base import Algorithm
from asyncrl.building import build
from asyncrl.errors import UserError
from asyncrl.hints import right_name
from asyncrl.importing import given_in, modules_in, texts_in
from asyncrl.settings import ClusterSettings, NetworkSettings, OptimizerSettings, SupervisionSettings, require

LARGEST_SEED = 2**30

GROUPS = ("algorithm", "network", "optimizer", "supervision", "cluster")
"""Fields of an experiment that hold further settings."""

ARGUMENTS = ("run_dir", "resume", "overwrite", "modules", "callbacks", "quiet")
"""Arguments of `asyncrl.train` that are no settings."""


@dataclass(frozen=True)
class Experiment:
    """Every setting that decides a run. Two runs of one experiment differ only by the timing of their workers."""

    environment: str
    """Gymnasium id, such as CartPole-v1, ALE/Pong-v5 or my_module:MyEnv-v0, or import path of a class or function that
    makes an environment, my_module:MyEnv."""
    algorithm: Algorithm
    network: NetworkSettings = field(default_factory=NetworkSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    supervision: SupervisionSettings = field(default_factory=SupervisionSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    environment_options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    wrappers: tuple[str, ...] = ()
    """Your own wrapper of each environment, as an import path module:function. Several are applied in the order given,
    the first one innermost."""
    grayscale: bool = False
    """Make colour images grey. Atari images are grey already."""
    resize: tuple[int, int] | int | None = None
    """Resize images to this height and width, in pixels; one number stands for both. None: images keep their size, and
    those of Atari games are 84 x 84."""
    frame_stack: int | None = None
    """Stack so many successive images along their channels, the newest last. None: no stack, and 4 for Atari games."""
    reward_clip: float | None = None
    """Clip rewards to plus or minus this value for learning. Reported returns are never clipped."""
    reward_scale: float = 1.0
    """Factor for rewards after clipping, for learning only. Values near 1 are learned fastest."""
    normalize_rewards: bool = False
    """Divide rewards, after clipping, by the running standard deviation of the discounted return over all workers, for
    learning only. Takes the place of --reward-scale."""
    exploration_bonus: Literal["none", "hash"] = "none"
    """Reward for reaching states that were seldom reached, for learning only, added to the clipped and scaled reward.
    hash: all workers count hashed observations together (Tang et al. 2017)."""
    bonus_scale: float = 0.01
    """Size of the bonus [β]: a state that was reached n times by now gives β / √n."""
    hash_bits: int = 256
    """Bits of an observation's hash [k]. With more bits, more observations count as different states."""
    zero_discount_on_life_loss: bool = False
    """Learn as if a lost life ended the episode (discount 0). The game and its reported return go on."""
    steps: int = 1_000_000
    """Length of the whole run in agent decisions, over all workers [T_max]."""
    until_return: float | None = None
    """Stop early once the agent reaches this mean return in an evaluation of --goal-episodes whole episodes."""
    until_seconds: float | None = None
    """Stop early after so many seconds of training, over all sessions of the run."""
    workers: int | Literal["auto"] = "auto"
    """Number of workers (actor-learners), with --runtime ray on each node. auto: one for each core that this process
    may use; on a cluster, one for each core of its smallest node."""
    envs_per_worker: int | Literal["auto"] = 16
    """Number of environments in each worker [B]. auto: chosen by the kind of environment. The paper has 1, with
    --episode-rollouts."""
    episode_rollouts: bool = False
    """End a rollout when its episode ends, as the paper does. Needs --envs-per-worker 1."""
    runtime: Literal["processes", "serial", "ray"] = "processes"
    """How workers run. processes: in parallel. serial: in turn in one process, deterministic for a given seed. ray: in
    parallel on the nodes of a Ray cluster."""
    seed: int = 1
    """Seed for network initialisation, environments and exploration."""
    preset: str = ""
    """Named settings to start from, or a preset file; by default the best tuned settings for the environment."""

    def __post_init__(self) -> None:
        for path in self.wrappers:
            module, colon, name = path.rpartition(":")
            require(bool(module and colon and name), f"--wrapper takes an import path module:function, not {path!r}")
        require(
            self.image_size is None or min(self.image_size) > 0,
            f"--resize takes a height and a width of at least 1 pixel, not {self.resize}",
        )
        require(
            self.frame_stack is None or self.frame_stack > 0,
            f"--frame-stack must be at least 1, or None, not {self.frame_stack}",
        )
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
        require(
            not self.normalize_rewards or self.reward_scale == 1,
            f"--normalize-rewards takes the place of --reward-scale {self.reward_scale:g}: add --reward-scale 1, or "
            "leave out --normalize-rewards",
        )
        self._check_bonus()
        self._check_cluster()
        check_seed(self.seed)

    def _check_bonus(self) -> None:
        require(0 < self.bonus_scale < math.inf, "--bonus-scale must be positive and finite")
        require(0 < self.hash_bits <= 4096, f"--hash-bits must lie between 1 and 4096, not {self.hash_bits}")
        if self.exploration_bonus == "none":
            for name in ("bonus_scale", "hash_bits"):
                option = f"--{name.replace('_', '-')} {getattr(self, name):g}"
                require(getattr(self, name) == getattr(Experiment, name), f"{option} needs --exploration-bonus hash")
        require(
            self.exploration_bonus == "none" or not getattr(self.algorithm, "reward_prediction", 0.0),
            "reward prediction would take bonuses for rewards: add --reward-prediction 0, or leave out "
            "--exploration-bonus",
        )

    def _check_cluster(self) -> None:
        if self.runtime == "ray":
            without = "is not available with --runtime ray: leave it out, or train on one machine"
            require(self.exploration_bonus == "none", f"--exploration-bonus {without}")
            require(not getattr(self.algorithm, "save_replay", False), f"--save-replay {without}")
            require(
                self.cluster.exchange == "changes" or self.optimizer.optimizer != "rprop",
                "--exchange gradients does not go with rprop, whose steps begin anew with each fit: take changes",
            )
            self._check_roles()
            return
        for part in dataclasses.fields(self.cluster):
            option = f"--{part.name.replace('_', '-')}"
            given = getattr(self.cluster, part.name)
            require(given == part.default, f"{option} {given} needs --runtime ray; {option} {part.default} unsets it")

    def _check_roles(self) -> None:
        actors, learners = self.cluster.actors, self.cluster.learners
        if actors:
            require(
                self.algorithm.learns_from_replay_alone,
                "--actors and --learners need an algorithm that learns from replay alone: add --algorithm dqn",
            )
            require(
                self.workers in ("auto", actors + learners),
                f"--actors {actors} and --learners {learners} make {actors + learners} workers on each node, not "
                f"{self.workers}: add --workers auto",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Goes to other processes as plain data, together with the objects that it names and nobody can import."""
        data = to_dict(self)
        return _received, (data, given.pack(given_objects(data)))

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width to which images are resized, in pixels."""
        return (self.resize, self.resize) if isinstance(self.resize, int) else self.resize

    @property
    def changes_images(self) -> bool:
        """Whether images are made grey, resized or stacked."""
        return self.grayscale or self.resize is not None or self.frame_stack is not None

    @property
    def worker_count(self) -> int:
        """Number of workers, over all nodes; `auto` is the number of cores available to this process."""
        workers = available_cores() if self.workers == "auto" else self.workers
        return (self.cluster.actors + self.cluster.learners or workers) * self.node_count

    def role_of(self, worker: int) -> Literal["worker", "actor", "learner"]:
        """Whether a worker acts, learns or, as a worker usually does, both. The first workers of each node are actors.

        Args:
            worker: Its number.
        """
        actors, learners = self.cluster.actors, self.cluster.learners
        if not actors:
            return "worker"
        return "actor" if worker % (actors + learners) < actors else "learner"

    @property
    def acting_workers(self) -> int:
        """Number of workers that act, over all nodes: all of them unless `cluster.actors` says otherwise."""
        return self.cluster.actors * self.node_count or self.worker_count

    @property
    def node_count(self) -> int:
        """Number of nodes: 1 without a cluster, and as long as no cluster has been asked how many it has."""
        return self.cluster.nodes if self.runtime == "ray" and self.cluster.nodes != "auto" else 1

    @property
    def environment_count(self) -> int:
        """Number of environments per worker [B]; `asyncrl.resolution.resolve` has chosen it if it was `auto`."""
        if self.envs_per_worker == "auto":
            raise ValueError("resolve the experiment first: its number of environments is still auto")
        return self.envs_per_worker


def setting(experiment: Experiment | Mapping[str, Any], name: str) -> Any:
    """The value of a setting, found by its own name anywhere in the tree; `algorithm` gives the algorithm's name.

    Args:
        experiment: An experiment, or the plain data of one, as `to_dict` makes it. Plain data imports nothing.
        name: Name of the setting.

    Raises:
        UserError: There is no such setting.
    """
    data = to_dict(experiment) if isinstance(experiment, Experiment) else experiment
    algorithm = _mapping(data.get("algorithm"), "'algorithm'").get("name")
    if name == "algorithm":
        return algorithm
    for part in (
        *(data.get(group, {}) for group in GROUPS),
        data,
    ):  # "optimizer" is the name in the group, not the group
        if name in _mapping(part, "a group of settings"):
            value = part[name]
            return available_cores() if (name, value) == ("workers", "auto") else value
    raise UserError(f"{algorithm} has no setting {name!r}")


def replaced(start: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """The experiment with some settings replaced, each found by its own name in the tree.

    Raises:
        UserError: There is no such setting, or a value has the wrong type or makes no sense.
    """
    data = to_dict(start)
    homes: dict[str, dict[str, Any]] = {name: data for name in data if name not in GROUPS}
    for group in GROUPS:
        homes |= {field.name: data[group] for field in dataclasses.fields(getattr(start, group))}
    for name, value in settings.items():
        if name not in homes:
            owners = " or ".join(owners_of(name))
            hint = f"leave it out, or take {owners}" if owners else right_name(name, [*homes, *ARGUMENTS])
            hint = hint or "'asyncrl train --help' lists all, with - in place of _"
            raise UserError(f"{algorithm_name(start.algorithm)} has no setting {name!r}: {hint}")
        homes[name][name] = value
    return from_dict(data)


def named_modules(data: Mapping[str, Any]) -> set[str]:
    """The modules outside asyncrl that the settings of an experiment, as `to_dict` makes them, would import."""
    return modules_in(_named_objects(data))


def given_objects(data: Mapping[str, Any]) -> list[str]:
    """The paths of the objects that the settings of an experiment use and no other program can import."""
    return given_in(_named_objects(data))


def _named_objects(data: Mapping[str, Any]) -> list[str]:
    algorithm, network, optimizer = (
        group if isinstance(group := data.get(name), Mapping) else {} for name in ("algorithm", "network", "optimizer")
    )
    paths = network.get("torso"), optimizer.get("optimizer"), data.get("environment")
    own = algorithm.values()  # its name, and any of its settings
    return texts_in([*own, *paths, data.get("wrappers")])


def _received(data: Mapping[str, Any], packed: bytes) -> Experiment:
    """The experiment that another process has sent."""
    given.unpack(packed)
    return from_dict(data)


def check_seed(seed: int) -> None:
    """Checks that every emulator and random generator accepts the seed.

    Raises:
        UserError: The seed is negative or too large.
    """
    require(0 <= seed <= LARGEST_SEED, f"--seed must lie between 0 and {LARGEST_SEED}, not {seed}")


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain data (strings, numbers, lists, dicts), which `from_dict` reads back."""
    data = dataclasses.asdict(experiment)
    data["algorithm"] = {"name": algorithm_name(experiment.algorithm), **data["algorithm"]}
    return with_lists(data)  # type: ignore[no-any-return]


def with_lists(value: Any) -> Any:
    """The value with every tuple replaced by a list, because YAML has no tuples."""
    if isinstance(value, Mapping):
        return {key: with_lists(part) for key, part in value.items()}
    return [with_lists(part) for part in value] if isinstance(value, list | tuple) else value


def from_dict(data: object) -> Experiment:
    """The experiment whose plain data `to_dict` made.

    Raises:
        UserError: A key is unknown or missing, or a value has the wrong type or makes no sense.
    """
    fields = dict(_mapping(data, "an experiment"))
    settings = dict(_mapping(fields.get("algorithm"), "'algorithm'"))
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise UserError("the experiment does not name its algorithm: add a line 'name: a3c' under 'algorithm:'")
    fields["algorithm"] = build(algorithm_class(name), settings)
    return build(Experiment, fields)


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    """The value, if it is a mapping; `what` names it in the message otherwise."""
    if not isinstance(value, Mapping):
        raise UserError(f"{what} should hold lines 'setting: value', not {value!r}")
    return value
