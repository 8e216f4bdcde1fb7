"""Presets, which are named settings: `paper/…` with the source of every number, `tuned/…` found by experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from asyncrl.algorithms import algorithm_class
from asyncrl.config import Experiment, replaced
from asyncrl.errors import UserError
from asyncrl.importing import modules_in, texts_in
from asyncrl.presets import paper, paper_acer, paper_gorila, paper_nfq, paper_pgq, paper_pqn, paper_unreal, tuned
from asyncrl.presets.file import SUFFIXES, read_preset
from asyncrl.types import Kind

FAMILY = ("a3c", "nstep-q", "onestep-q", "sarsa")


@dataclass(frozen=True)
class Preset:
    """Named settings for some algorithms and some environments."""

    name: str
    make: Callable[..., Experiment]  # from an environment id, an algorithm and, if it chooses by kind, the kind
    algorithms: tuple[str, ...]  # the algorithms it has settings for; the first one is its default
    environments: tuple[str, ...]  # patterns of ids; the first preset with a match is the default
    base: str = ""  # the named preset that a preset file starts from
    modules: frozenset[str] = frozenset()  # modules outside asyncrl that a preset file names
    by_kind: bool = False  # chooses by the kind of environment; `make` then also takes None for the algorithm

    @property
    def description(self) -> str:
        """What the settings are for, in one line."""
        return (self.make.__doc__ or "").strip().splitlines()[0]

    def settings(self, environment: str, algorithm: str | None, kind: Kind | None = None) -> Experiment:
        """The experiment for that algorithm, or for one that the preset chooses if it has no settings for it.

        Args:
            environment: Gymnasium id.
            algorithm: Name.
            kind: What a preset that chooses by kind goes by; without it, vectors and discrete actions.
        """
        known = algorithm if algorithm in self.algorithms else None
        if self.by_kind and not algorithm:
            return self.make(environment, None, kind or Kind())
        if self.by_kind:
            return self.make(environment, known or self.algorithms[0], kind or Kind())
        return self.make(environment, known or self.algorithms[0])

    def experiment(self, environment: str, algorithm: str | None, kind: Kind | None = None) -> Experiment:
        """The experiment for that algorithm; one for which the preset has no settings has its own default settings.

        Raises:
            UserError: The algorithm is unknown.
        """
        experiment = replace(self.settings(environment, algorithm, kind), preset=self.name)
        if algorithm and type(experiment.algorithm) is not algorithm_class(algorithm):
            return replace(experiment, algorithm=algorithm_class(algorithm)())
        return experiment


def _first(default: str, algorithms: Iterable[str]) -> tuple[str, ...]:
    """The algorithms with the default one in front."""
    return (default, *(name for name in algorithms if name != default))


PRESETS: tuple[Preset, ...] = (
    Preset("tuned/catch", tuned.catch, tuple(tuned.CATCH), ("Catch-*",)),
    Preset("tuned/catch-memory", tuned.catch_memory, tuple(tuned.CATCH_MEMORY), ("CatchMemory-*",)),
    Preset("tuned/cartpole", tuned.cartpole, tuple(tuned.CARTPOLE), ("CartPole-*",)),
    Preset("tuned/acrobot", tuned.acrobot, tuple(tuned.ACROBOT), ("Acrobot-*",)),
    Preset("tuned/lunarlander", tuned.lunarlander, tuple(tuned.LUNARLANDER), ("LunarLander-*",)),
    Preset("tuned/minatar", tuned.minatar, _first("pqn", tuned.MINATAR), ("MinAtar/*",)),
    Preset("tuned/pendulum", tuned.pendulum, tuple(tuned.PENDULUM), ("Pendulum-*",)),
    Preset("tuned/mujoco", tuned.mujoco, tuple(tuned.MUJOCO_TASKS), tuned.MUJOCO),
    Preset("tuned/atari", tuned.atari, tuple(tuned.ATARI), ("ALE/*", "*NoFrameskip-v*")),
    Preset("tuned/vizdoom", tuned.vizdoom, tuple(tuned.IMAGES), ("Vizdoom*",)),
    Preset("tuned/default", tuned.default, tuple(tuned.VECTORS), ("*",), by_kind=True),
    Preset("paper/atari-57-ff", paper.atari_57_ff, ("a3c",), ()),
    Preset("paper/atari-57-lstm", paper.atari_57_lstm, ("a3c",), ()),
    Preset("paper/atari-study-ff", paper.atari_study_ff, FAMILY, ()),
    Preset("paper/atari-study-lstm", paper.atari_study_lstm, FAMILY, ()),
    Preset("paper/mujoco-state", paper.mujoco_state, ("a3c",), ()),
    Preset("paper/mujoco-pixels", paper.mujoco_pixels, ("a3c",), ()),
    Preset("paper/dqn-2013", paper.dqn_2013, ("dqn",), ()),
    Preset("paper/dqn-2015", paper.dqn_2015, ("dqn",), ()),
    Preset("paper/double-dqn", paper.double_dqn, ("dqn",), ()),
    Preset("paper/dueling", paper.dueling, ("dqn",), ()),
    Preset("paper/prioritized", paper.prioritized, ("dqn",), ()),
    Preset("paper/gorila", paper_gorila.gorila, ("dqn",), ()),
    Preset("paper/acer-atari", paper_acer.acer_atari, ("acer",), ()),
    Preset("paper/acer-continuous", paper_acer.acer_continuous, ("acer",), ()),
    Preset("paper/pgq-atari", paper_pgq.pgq_atari, ("pgq",), ()),
    Preset("paper/unreal", paper_unreal.unreal, ("unreal",), ()),
    Preset("paper/pqn-atari", paper_pqn.pqn_atari, ("pqn",), ()),
    Preset("paper/pqn-minatar", paper_pqn.pqn_minatar, ("pqn",), ()),
    Preset("paper/nfq", paper_nfq.nfq, ("nfq",), ()),
)


def default_preset(environment: str) -> Preset:
    """The best tuned preset for an environment id."""
    return next(preset for preset in PRESETS if any(fnmatchcase(environment, p) for p in preset.environments))


def find_preset(name: str) -> Preset:
    """The preset of that name, or the one in that file.

    Raises:
        UserError: There is none, or the file is not a preset.
    """
    return _preset_in(name) if name.endswith(SUFFIXES) else named_preset(name)


def named_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: There is none.
    """
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise UserError(
        f"unknown preset {name!r}: choose one of {', '.join(preset.name for preset in PRESETS)}, or name a FILE.yaml"
    )


def _preset_in(path: str) -> Preset:
    """The preset in a file: the settings that it names replace those of the preset that it starts from."""
    saved = read_preset(Path(path))
    try:
        base = named_preset(saved.preset)
    except UserError as error:
        raise UserError(f"the preset file {path}: {error}") from error

    def make(environment: str, algorithm: str | None, kind: Kind | None = None) -> Experiment:
        try:
            return replaced(base.experiment(environment, algorithm or saved.algorithm, kind), saved.settings)
        except UserError as error:
            raise UserError(f"the preset file {path}: {error}") from error

    modules = modules_in([saved.algorithm, *texts_in(saved.settings.values())])
    return Preset(path, make, (saved.algorithm,), (), base.name, frozenset(modules), base.by_kind)
