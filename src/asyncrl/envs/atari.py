"""Atari through ale-py's native vector environment, with DeepMind's preprocessing (Mnih et al. 2015).

84 × 84 grey frames, each the maximum of the last two emulator frames, in stacks of four; up to 30 no-ops at the start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

from asyncrl.errors import UserError

ENTRY_POINT = "ale_py.env:AtariEnv"
FRAMES_PER_STEP = 4


def is_atari(spec: EnvSpec) -> bool:
    """Whether an id is an Atari game seen as images."""
    return spec.entry_point == ENTRY_POINT and spec.kwargs.get("obs_type", "rgb") != "ram"


def settings(spec: EnvSpec, options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `AtariVectorEnv` that keep what the id promises (sticky actions, action set, episode limit).

    The frame skip is the id's; ids with `NoFrameskip` leave it to the preprocessing, which repeats actions 4 times.

    Raises:
        UserError: The id skips a random number of frames.
    """
    arguments = {**spec.kwargs, "reward_clipping": False, "num_threads": 1, **options}
    if isinstance(arguments["frameskip"], tuple):
        game = spec.name.removesuffix("Deterministic")
        raise UserError(f"{spec.id} skips a random number of frames, which no agent here can use: take ALE/{game}-v5")
    if "frameskip" not in options and spec.name.endswith("NoFrameskip"):
        arguments["frameskip"] = FRAMES_PER_STEP
    return arguments


def make_atari(spec: EnvSpec, options: dict[str, Any], num_envs: int) -> VectorEnv[Any, Any, Any]:
    """A vector of one Atari game; rewards are unclipped.

    Raises:
        UserError: An option is unknown.
    """
    try:
        return AtariVectorEnv(num_envs=num_envs, **settings(spec, options))
    except TypeError as error:
        raise UserError(f"{spec.id} does not take these options: {error}") from error


class AtariWithScreen(AtariVectorEnv):
    """One Atari game that can be looked at: a second emulator in colour plays the same seeds and actions.

    The native vector environment keeps no colour frame; emulators with equal seeds and actions stay in step.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 15}
    render_mode = "rgb_array"

    def __init__(self, spec: EnvSpec, options: dict[str, Any]) -> None:
        arguments = settings(spec, options)
        super().__init__(num_envs=1, **arguments)
        screen = {"grayscale": False, "img_height": 210, "img_width": 160, "stack_num": 1, "maxpool": True}
        self.colour = AtariVectorEnv(num_envs=1, **{**arguments, **screen})
        self.frame = np.zeros((210, 160, 3), np.uint8)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets both emulators from one seed."""
        seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
        self.frame = self.colour.reset(seed=seed)[0][0, 0]
        result: tuple[Any, dict[str, Any]] = super().reset(seed=seed, options=options)
        return result

    def step(self, actions: Any) -> Any:
        """Steps both emulators."""
        self.frame = self.colour.step(actions)[0][0, 0]
        return super().step(actions)

    def render(self) -> tuple[Any, ...]:
        """The colour frame [210, 160, 3]."""
        return (self.frame,)
