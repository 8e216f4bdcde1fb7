"""Atari games through ale-py's native vector environment, with the preprocessing of Mnih et al. 2015.

Observations are 84 × 84 grey frames in stacks of four. Each frame is the maximum of the last two emulator frames. An
episode begins with up to 30 no-ops and, which the paper does not have, with the fire action where the game has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from asyncrl.config import Experiment
from asyncrl.errors import UserError

ENTRY_POINT = "ale_py.env:AtariEnv"
FRAMES_PER_STEP = 4
DEFAULTS: dict[str, Any] = {
    "img_height": 84,
    "img_width": 84,
    "grayscale": True,
    "stack_num": 4,
    "maxpool": True,
    "noop_max": 30,
    "use_fire_reset": True,  # with it tuned/atari was measured; presets of papers before PQN turn it off
    "reward_clipping": False,
    "num_threads": 1,
}
"""Arguments of `AtariVectorEnv` that neither the id nor the options set; ale-py's own defaults may change."""
REFUSED = {
    "autoreset_mode": "leave that option out",
    "batch_size": "leave that option out",
    "episodic_life": "it would make the reported returns those of single lives; use --zero-discount-on-life-loss",
    "life_loss_info": "use --zero-discount-on-life-loss",
    "num_envs": "use --envs-per-worker",
    "reward_clipping": "it would clip the reported returns; use --reward-clip",
}
"""Options of `AtariVectorEnv` that would break what the package promises, and what to do instead."""


def is_atari(spec: EnvSpec) -> bool:
    """Whether an id is an Atari game observed as images."""
    return spec.entry_point == ENTRY_POINT and spec.kwargs.get("obs_type", "rgb") != "ram"


def settings(spec: EnvSpec, options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `AtariVectorEnv` that keep what the id promises (sticky actions, action set, episode limit).

    The frame skip is the id's. Ids with `NoFrameskip` leave it to the preprocessing, which repeats each action 4 times.

    Raises:
        UserError: The id skips a random number of frames.
    """
    arguments = {**DEFAULTS, **spec.kwargs, **options}
    if isinstance(arguments["frameskip"], tuple):
        game = spec.name.removesuffix("Deterministic")
        raise UserError(f"{spec.id} skips a random number of frames, which no agent here can use: take ALE/{game}-v5")
    if "frameskip" not in options and spec.name.endswith("NoFrameskip"):
        arguments["frameskip"] = FRAMES_PER_STEP
    return arguments


def frame_stack(spec: EnvSpec, options: dict[str, Any]) -> int:
    """Number of grey frames that an observation stacks along its channel axis; colour frames have their own axis."""
    arguments = settings(spec, options)
    return int(arguments["stack_num"]) if arguments["grayscale"] else 1


def with_image_settings(spec: EnvSpec, experiment: Experiment) -> dict[str, Any]:
    """The options of an experiment's environment, with its settings for images as arguments of `AtariVectorEnv`.

    Raises:
        UserError: An option says another thing than a setting, or the experiment has wrappers.
    """
    if experiment.wrappers:
        raise UserError(
            f"{spec.id} takes no --wrapper, because ale-py steps all its games at once: register an environment of "
            "your own that makes and wraps the game, and train on that"
        )
    size, options = experiment.image_size, experiment.environment_options
    asked: dict[str, tuple[str, Any]] = {}
    if experiment.frame_stack is not None:
        asked["stack_num"] = ("--frame-stack", experiment.frame_stack)
    if size is not None:
        asked |= {"img_height": ("--resize", size[0]), "img_width": ("--resize", size[1])}
    if experiment.grayscale:
        asked["grayscale"] = ("--grayscale", True)
    for name, (setting, value) in asked.items():
        if options.get(name, value) != value:
            raise UserError(f"{setting} and --env-option {name}={options[name]} contradict each other: leave one out")
    return {**options, **{name: value for name, (_, value) in asked.items()}}


def make_atari(spec: EnvSpec, options: dict[str, Any], num_envs: int) -> VectorEnv[Any, Any, Any]:
    """A vector of one Atari game. Rewards are unclipped. By default observations are stacks of grey frames [84, 84, 4].

    Raises:
        UserError: An option is unknown, or refused here.
    """
    for name, remedy in REFUSED.items():
        if options.get(name):
            raise UserError(f"{spec.id} cannot be given {name} as an option of the environment: {remedy}")
    sizes = [name for name in ("img_height", "img_width", "stack_num", "frameskip") if options.get(name, 1) < 1]
    if sizes:
        raise UserError(f"{spec.id} needs a {sizes[0]} of at least 1, not {options[sizes[0]]}")
    arguments = settings(spec, options)
    if arguments["grayscale"] and arguments["stack_num"] == PackedFrames.STACK:
        return PackedFrames(_make_native(spec, num_envs, {**arguments, "stack_num": 1}))
    return _make_native(spec, num_envs, arguments)


def _make_native(spec: EnvSpec, num_envs: int, arguments: dict[str, Any]) -> AtariVectorEnv:
    try:
        return AtariVectorEnv(num_envs=num_envs, **arguments)
    except Exception as error:
        raise UserError(f"{spec.id} does not take these options: {error}") from error


class PackedFrames(VectorWrapper[Any, Any, Any, Any, Any]):
    """Stacks the last four grey frames, newest last, with the four values of a pixel side by side: [B, H, W, 4] bytes.

    Convolutions on a CPU read images fastest in this layout. The four bytes of a pixel are one 32-bit word, so that a
    shift by one byte drops the oldest frame. An episode's first stack has three black frames, as ale-py's own has.

    Args:
        env: Frames [B, 1, H, W]; resets itself on the step after an end (NEXT_STEP).
    """

    STACK = 4

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        _, height, width = env.single_observation_space.shape  # type: ignore[misc]
        self.single_observation_space = Box(0, 255, (height, width, self.STACK), np.uint8)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.words = np.zeros((env.num_envs, height, width), np.dtype("<u4"))  # the oldest frame in the lowest byte
        self.ended = np.zeros(env.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts new episodes everywhere."""
        frames, info = self.env.reset(seed=seed, options=options)
        self.words[:] = 0
        self.ended[:] = False
        return self._push(frames), info

    def step(self, actions: Any) -> Any:
        """Steps all games."""
        frames, rewards, terminated, truncated, info = self.env.step(actions)
        self.words[self.ended] = 0
        np.logical_or(terminated, truncated, out=self.ended)
        return self._push(frames), rewards, terminated, truncated, info

    def _push(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Adds frames [B, 1, H, W] and returns the stacks [B, H, W, 4], which the next call overwrites."""
        np.right_shift(self.words, 8, out=self.words)
        stacks = self.words.view(np.uint8).reshape(*self.words.shape, self.STACK)
        stacks[..., -1] = frames[:, 0]
        return stacks


class AtariWithScreen(VectorWrapper[Any, Any, Any, Any, Any]):
    """One Atari game that can be rendered: a second emulator plays the same game in colour.

    The native vector environment keeps no colour frame. Two emulators with equal seeds and actions show the same game.
    """

    render_mode = "rgb_array"

    def __init__(self, spec: EnvSpec, options: dict[str, Any]) -> None:
        super().__init__(make_atari(spec, options, 1))
        screen = {"grayscale": False, "img_height": 210, "img_width": 160, "stack_num": 1, "maxpool": True}
        self.colour = _make_native(spec, 1, {**settings(spec, options), **screen})
        self.metadata = {**self.env.metadata, "render_modes": ["rgb_array"], "render_fps": 15}
        self.frame = np.zeros((210, 160, 3), np.uint8)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets both emulators with one seed."""
        seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
        self.frame = self.colour.reset(seed=seed)[0][0, 0]
        result: tuple[Any, dict[str, Any]] = self.env.reset(seed=seed, options=options)
        return result

    def step(self, actions: Any) -> Any:
        """Steps both emulators."""
        self.frame = self.colour.step(actions)[0][0, 0]
        return self.env.step(actions)

    def render(self) -> tuple[Any, ...]:
        """The colour frame [210, 160, 3]."""
        return (self.frame,)
