"""Named settings: `paper/…` with the source of every number, `tuned/…` with the run that chose them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from asyncrl.config import Experiment
from asyncrl.errors import UserError
from asyncrl.presets import paper, tuned


@dataclass(frozen=True)
class Preset:
    """Settings for one algorithm, for the environments they were made for."""

    name: str
    make: Callable[[str], Experiment]  # from an environment id
    environments: tuple[str, ...]  # patterns of ids; the first preset that matches is the default

    @property
    def description(self) -> str:
        """One line on what the settings are for."""
        return (self.make.__doc__ or "").strip().splitlines()[0]


PRESETS: tuple[Preset, ...] = (
    Preset("tuned/catch", tuned.catch, ("Catch-*",)),
    Preset("tuned/catch-memory", tuned.catch_memory, ("CatchMemory-*",)),
    Preset("tuned/cartpole", tuned.cartpole, ("CartPole-*",)),
    Preset("tuned/atari", tuned.atari, ("ALE/*", "*NoFrameskip-v*")),
    Preset("tuned/default", tuned.default, ("*",)),
    Preset("paper/a3c-ff", paper.a3c_ff, ()),
    Preset("paper/a3c-lstm", paper.a3c_lstm, ()),
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
