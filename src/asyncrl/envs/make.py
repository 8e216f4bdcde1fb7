"""Makes vectors of environments from Gymnasium ids."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import AddRenderObservation

from asyncrl.config import Experiment
from asyncrl.envs import vizdoom
from asyncrl.envs.actions import action_codec
from asyncrl.envs.box2d import unbounded
from asyncrl.envs.ids import find_spec
from asyncrl.envs.last_action import WithLastActionAndReward
from asyncrl.envs.lives import WithLifeLoss
from asyncrl.envs.masks import WithActionMask, observes_mask
from asyncrl.envs.mujoco import print_warnings_once
from asyncrl.envs.observations import ArrayObservations, as_agents_see, observation_codec
from asyncrl.envs.wrappers import wrapped
from asyncrl.errors import UserError
from asyncrl.installing import install_command
from asyncrl.types import ACTION_MASK, EnvironmentInfo

PIXELS = "pixels"
"""Option of environments that render at any size, as MuJoCo's do: observe square pictures of this side length."""

FEW, MANY = 16, 64
"""Environments per worker that `auto` chooses: FEW for Atari and environments stepped one by one, MANY for others."""

NEEDED_BY = {
    "gymnasium.envs.box2d": "asyncrl[box2d]",
    "gymnasium.envs.mujoco": "asyncrl[mujoco]",
    "gymnasium.envs.classic_control": "asyncrl[classic-control]",
    "gymnasium.envs.toy_text": "gymnasium[toy-text]",
}
"""What to install for the environments of a module."""


def describe(experiment: Experiment) -> EnvironmentInfo:
    """Makes one environment, reads what the package needs to know of it, and closes it.

    The environment is reset once, which shows whether it reports its lives and whether it gives action masks.

    Raises:
        UserError: It cannot be made, or its observations, actions, lives or action masks cannot be used.
    """
    environments = make_environments(experiment, 1)
    try:
        action_space = environments.single_action_space
        action_codec(action_space)
        if ACTION_MASK in _first_info(environments, experiment.seed):
            environments.close()
            environments = make_environments(experiment, 1, masked=True)
            _first_info(environments, experiment.seed)
        observation_space = environments.single_observation_space
    finally:
        environments.close()
    return EnvironmentInfo(
        find_spec(experiment.environment).id,
        as_agents_see(observation_space),
        action_space,
        frames_per_step(experiment.environment, experiment.environment_options),
        frame_stack(experiment),
        environments.codec.space if isinstance(environments, ArrayObservations) else None,
    )


def _first_info(environments: VectorEnv[Any, Any, Any], seed: int) -> dict[str, Any]:
    """Returns the info of a reset; empty if the reset fails, which the workers meet too and report with its cause."""
    try:
        return environments.reset(seed=seed)[1]
    except UserError:
        raise
    except Exception:
        return {}


def make_environments(
    experiment: Experiment, num_envs: int, *, masked: bool = False, render: bool = False
) -> VectorEnv[Any, Any, Any]:
    """Makes a vector of the experiment's environments as its agent sees them.

    Args:
        experiment: The experiment.
        num_envs: Number of environments [B].
        masked: Whether they give action masks in their info; `EnvironmentInfo.masked` says so. Masks in observations
            need not be announced.
        render: Let `render()` return pictures; for a single environment only.

    Raises:
        UserError: They cannot be made.
    """
    environments = _with_images(experiment, num_envs, render)
    if experiment.zero_discount_on_life_loss:
        environments = WithLifeLoss(environments, experiment.environment)
    if masked or observes_mask(environments.single_observation_space):
        environments = WithActionMask(environments, experiment.environment)
    if experiment.network.last_action_reward:
        environments = WithLastActionAndReward(environments, experiment.reward_clip)
    codec = observation_codec(environments.single_observation_space)
    return environments if codec.converts_nothing else ArrayObservations(environments, codec)


def _with_images(experiment: Experiment, num_envs: int, render: bool) -> VectorEnv[Any, Any, Any]:
    """Makes a vector of the environments with their wrappers and with images as the experiment wants them."""
    from asyncrl.envs import atari

    spec, options = find_spec(experiment.environment), experiment.environment_options
    if atari.is_atari(spec):
        return make_vector(spec, atari.with_image_settings(spec, experiment), num_envs, render=render)
    environments = make_vector(spec, options, num_envs, render=render, wrappers=experiment.wrappers)
    if not experiment.changes_images:
        return environments
    from asyncrl.envs.pictures import Pictures  # imports torch

    return Pictures(environments, experiment)


def environments_for_a_worker(experiment: Experiment) -> int:
    """Number of environments per worker for `auto`: more if stepping many at once costs little more than one.

    Raises:
        UserError: The environment is unknown.
    """
    return MANY if steps_many_at_once(experiment) else FEW


def steps_many_at_once(experiment: Experiment) -> bool:
    """Whether stepping many of these environments costs little more than stepping one.

    Raises:
        UserError: The environment is unknown.
    """
    from asyncrl.envs import atari

    spec = find_spec(experiment.environment)
    return spec.vector_entry_point is not None and not atari.is_atari(spec) and not experiment.wrappers


def frames_per_step(environment: str, options: dict[str, Any]) -> int:
    """Emulator frames per step: the frame skip of Atari games and of ViZDoom, 1 elsewhere."""
    from asyncrl.envs import atari

    spec = find_spec(environment)
    if atari.is_atari(spec):
        return int(atari.settings(spec, options)["frameskip"])
    return vizdoom.frame_skip(spec, options)


def frame_stack(experiment: Experiment) -> int:
    """Successive frames in one image observation: 4 for Atari games by default, 1 elsewhere."""
    from asyncrl.envs import atari

    spec = find_spec(experiment.environment)
    if atari.is_atari(spec):
        return atari.frame_stack(spec, atari.with_image_settings(spec, experiment))
    return experiment.frame_stack or 1


def make_vector(
    environment: str | EnvSpec,
    options: dict[str, Any],
    num_envs: int,
    *,
    render: bool = False,
    wrappers: Sequence[str] = (),
) -> VectorEnv[Any, Any, Any]:
    """Makes a vector of environments that reset themselves on the step after an episode's end (NEXT_STEP).

    Atari games use ale-py's native vector, ids with a vector entry point use that, and all others use Gymnasium's
    `SyncVectorEnv`.

    Args:
        environment: Gymnasium id, or its specification.
        options: Keyword arguments of the environment.
        num_envs: Number of environments [B].
        render: Let `render()` return pictures; for a single environment only.
        wrappers: Import paths of wrappers for each single environment; with any, the environments are made one by one.

    Raises:
        UserError: The id is unknown, its package is missing, it does not take its options, or a wrapper fails.
    """
    from asyncrl.envs import atari

    spec = find_spec(environment) if isinstance(environment, str) else environment
    if atari.is_atari(spec):
        return atari.AtariWithScreen(spec, options) if render else atari.make_atari(spec, options, num_envs)
    try:
        single = render or bool(wrappers)
        if single and spec.entry_point is None:
            raise UserError(f"{spec.id} has no entry_point, so there is no single environment to draw or to wrap")
        if spec.vector_entry_point is not None and not single:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # vectors without metadata are not used, see below
                vector = gymnasium.make_vec(spec, num_envs, **options)
            mode = vector.metadata.get("autoreset_mode")
            if mode == AutoresetMode.NEXT_STEP:
                return vector
            vector.close()
            if spec.entry_point is None:
                raise UserError(
                    f"the vector environment of {spec.id} has the autoreset mode {getattr(mode, 'name', mode)} in its "
                    "metadata: asyncrl needs AutoresetMode.NEXT_STEP there, or an entry_point for single environments"
                )
        return SyncVectorEnv([lambda: wrapped(_make_one(spec, options, render), wrappers)] * num_envs)
    except UserError:
        raise
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        package = str(spec.entry_point).rsplit(".", 1)[0]
        needed = NEEDED_BY.get(package)
        if needed:
            raise UserError(f"{spec.id} needs a package that is not installed: {install_command(needed)}") from error
        raise UserError(
            f"{spec.id} needs a package that is not installed ({_first_line(error)}): see its documentation for what "
            "to install"
        ) from error
    except Exception as error:
        raise UserError(f"{spec.id} cannot be made: {type(error).__name__}: {_first_line(error)}") from error


def _make_one(spec: EnvSpec, options: dict[str, Any], render: bool) -> gymnasium.Env[Any, Any]:
    keywords = {name: value for name, value in options.items() if name != PIXELS}
    size = options.get(PIXELS)
    if render or size is not None:
        if isinstance(spec.entry_point, str) or _takes(spec.entry_point, "render_mode"):
            keywords = {"render_mode": "rgb_array", **keywords}
        if not has_display():
            os.environ.setdefault("MUJOCO_GL", "egl")  # lets MuJoCo render without a window
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # the same for pygame
    if size is not None:
        keywords |= {"width": size, "height": size}
    if isinstance(spec.entry_point, str):
        load_env_creator(spec.entry_point)  # imports MuJoCo, if the environment needs it, before it warns
    print_warnings_once()
    with warnings.catch_warnings():
        if render:
            warnings.simplefilter("ignore")  # missing pictures are reported where they are needed
        env = gymnasium.make(spec, disable_env_checker=True, **keywords)  # the checker would warn in each worker
    if size is not None:
        return AddRenderObservation(env, render_only=True)
    if vizdoom.is_vizdoom(spec):
        return vizdoom.Episodes(env)
    return unbounded(env, spec)


def has_display() -> bool:
    """Whether a window can be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _takes(factory: Any, argument: str) -> bool:
    """Whether a class or function takes an argument of that name."""
    parameters = inspect.signature(factory).parameters
    return argument in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
