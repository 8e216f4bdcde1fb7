"""Images made grey, resized and stacked, for environments that are not Atari games."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from PIL import Image

from asyncrl.config import Experiment
from asyncrl.envs.observations import leaves, map_parts, map_space
from asyncrl.errors import UserError
from asyncrl.networks.images import image_shape, is_image

GREY = np.array([0.2125, 0.7154, 0.0721], np.float32)
"""Weights of red, green and blue, those of Gymnasium's `GrayscaleObservation`."""


class Pictures(VectorWrapper[Any, Any, Any]):
    """Makes images of bytes grey, resizes them and stacks successive ones, in this order.

    Images become [height, width, channels · frames], the newest frame last. Before an episode's first frame the stack
    is black, as in Atari games. In Dict and Tuple spaces every image is changed and all else stays.

    Args:
        env: Resets itself on the step after an end (NEXT_STEP).
        experiment: Says what is done (`frame_stack`, `resize`, `grayscale`).

    Raises:
        UserError: There are no images, they are not of bytes, or they cannot be made grey.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], experiment: Experiment) -> None:
        super().__init__(env)
        inner = env.single_observation_space
        images = {path: part for path, part in leaves(inner) if isinstance(part, Box) and is_image(part)}
        if not images or any(part.dtype != np.uint8 for part in images.values()):
            raise UserError(
                f"--frame-stack, --resize and --grayscale change images of bytes (uint8), and {experiment.environment} "
                f"observes {'others' if images else 'none'}: leave them out, or wrap the environment"
            )
        self.images = {path: _Frames(part, experiment, env.num_envs) for path, part in images.items()}
        self.single_observation_space = map_space(
            inner, lambda path, part: self.images[path].space if path in self.images else part
        )
        self.observation_space: Space[Any] = batch_space(self.single_observation_space, env.num_envs)
        self.ended = np.zeros(env.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts all episodes anew."""
        observations, info = self.env.reset(seed=seed, options=options)
        self.ended[:] = False
        return self._changed(observations, np.ones(self.num_envs, np.bool_)), info

    def step(self, actions: Any) -> Any:
        """Steps all environments."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        changed = self._changed(observations, self.ended)
        self.ended = np.logical_or(terminated, truncated) & ~self.ended
        return changed, rewards, terminated, truncated, info

    def _changed(self, observations: Any, first: NDArray[np.bool_]) -> Any:
        return map_parts(
            self.env.single_observation_space,
            observations,
            lambda path, part: self.images[path].push(part, first) if path in self.images else part,
        )


class _Frames:
    """The stacked frames of one image of each environment."""

    def __init__(self, box: Box, experiment: Experiment, count: int) -> None:
        height, width, channels = image_shape(box)
        self.channels_first = box.shape != (height, width, channels)
        self.grey = experiment.grayscale and channels != 1
        if self.grey and channels != len(GREY):
            raise UserError(
                f"--grayscale needs images with red, green and blue, and {experiment.environment} observes images of "
                f"shape {box.shape}"
            )
        size = experiment.image_size
        self.size = size if size != (height, width) else None
        self.channels = 1 if self.grey else channels
        shape = (*(size or (height, width)), self.channels * (experiment.frame_stack or 1))
        self.space = Box(0, 255, shape, np.uint8)
        if image_shape(self.space) != shape:
            raise UserError(f"images of shape {shape} have more channels than pixels on a side: give a larger --resize")
        self.stacks = np.zeros((count, *shape), np.uint8)

    def push(self, images: NDArray[np.uint8], first: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Adds images [B, ...] and returns the stacks [B, H, W, C], which the next call overwrites.

        Args:
            images: As the environments give them.
            first: [B] bool, true where an image is its episode's first.
        """
        frames = np.moveaxis(images, 1, -1) if self.channels_first else images
        if self.grey:
            frames = np.rint(frames @ GREY).astype(np.uint8)[..., None]
        if self.size is not None:
            frames = np.stack([_resized(frame, *self.size) for frame in frames])
        self.stacks[first] = 0
        self.stacks[..., : -self.channels] = self.stacks[..., self.channels :]
        self.stacks[..., -self.channels :] = frames
        return self.stacks


def _resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resizes an image [H, W, C] by averaging the pixels that fall together."""
    planes = [image] if image.shape[-1] == len(GREY) else list(np.moveaxis(image, -1, 0))
    resized = [np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX)) for plane in planes]
    return np.dstack(resized)
