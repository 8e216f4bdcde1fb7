"""Presets, which are named settings: `paper/…` with the source of every number, `tuned/…` found by experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from asyncrl.config import Experiment
from asyncrl.errors import UserError
from asyncrl.presets import paper, tuned

FAMILY = ("a3c", "nstep-q", "onestep-q", "sarsa")


@dataclass(frozen=True)
class Preset:
    """Named settings for some algorithms and some environments."""

    name: str
    make: Callable[[str, str], Experiment]  # makes the experiment for an environment id and one of the algorithms
    algorithms: tuple[str, ...]  # the algorithms it has settings for; the first one is its default
    environments: tuple[str, ...]  # patterns of ids; the first preset with a match is the default

    @property
    def description(self) -> str:
        """What the settings are for, in one line."""
        return (self.make.__doc__ or "").strip().splitlines()[0]

    def settings(self, environment: str, algorithm: str | None) -> Experiment:
        """The experiment for that algorithm, or for the preset's first one if it has no settings for that algorithm."""
        known = algorithm if algorithm in self.algorithms else None
        return self.make(environment, known or self.algorithms[0])


PRESETS: tuple[Preset, ...] = (
    Preset("tuned/catch", tuned.catch, FAMILY, ("Catch-*",)),
    Preset("tuned/catch-memory", tuned.catch_memory, FAMILY, ("CatchMemory-*",)),
    Preset("tuned/cartpole", tuned.cartpole, FAMILY, ("CartPole-*",)),
    Preset("tuned/acrobot", tuned.acrobot, FAMILY, ("Acrobot-*",)),
    Preset("tuned/lunarlander", tuned.lunarlander, FAMILY, ("LunarLander-*",)),
    Preset("tuned/minatar", tuned.minatar, FAMILY, ("MinAtar/*",)),
    Preset("tuned/pendulum", tuned.pendulum, ("a3c",), ("Pendulum-*",)),
    Preset("tuned/mujoco", tuned.mujoco, ("a3c",), tuned.MUJOCO),
    Preset("tuned/atari", tuned.atari, FAMILY, ("ALE/*", "*NoFrameskip-v*")),
    Preset("tuned/default", tuned.default, FAMILY, ("*",)),
    Preset("paper/atari-57-ff", paper.atari_57_ff, ("a3c",), ()),
    Preset("paper/atari-57-lstm", paper.atari_57_lstm, ("a3c",), ()),
    Preset("paper/atari-study-ff", paper.atari_study_ff, FAMILY, ()),
    Preset("paper/atari-study-lstm", paper.atari_study_lstm, FAMILY, ()),
    Preset("paper/mujoco-state", paper.mujoco_state, ("a3c",), ()),
    Preset("paper/mujoco-pixels", paper.mujoco_pixels, ("a3c",), ()),
)


def default_preset(environment: str) -> Preset:
    """The best tuned preset for an environment id."""
    return next(preset for preset in PRESETS if any(fnmatchcase(environment, p) for p in preset.environments))


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: There is none.
    """
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise UserError(f"unknown preset {name!r}: choose one of {', '.join(preset.name for preset in PRESETS)}")
