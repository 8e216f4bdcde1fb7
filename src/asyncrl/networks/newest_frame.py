"""The newest frame of an environment's images, whatever their axes, and whether they are stacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Box, Dict

from asyncrl.networks.images import channels_last, image_shape, is_image

if TYPE_CHECKING:
    from torch import Tensor

    from asyncrl.types import EnvironmentInfo

FEWEST = 4
"""Pixels along the shorter side of the smallest board that counts as an image."""


@dataclass(frozen=True, slots=True)
class NewestFrame:
    """Where the newest frame lies in observations. Boards [H, W] are images of one channel."""

    height: int
    width: int
    channels: int  # of one frame
    key: str | None  # of the images in Dict observations
    has_channels: bool  # false: boards [H, W]
    channels_last: bool
    low: float  # darkest intensity
    scale: float  # makes the brightest one 1

    @classmethod
    def of(cls, info: EnvironmentInfo) -> NewestFrame | None:
        """The newest frame of an environment's first image; None if it observes no images."""
        key, space = _image_of(info.observation_space)
        if space is None:
            return None
        has_channels = is_image(space)
        height, width, channels = image_shape(space) if has_channels else (*space.shape, 1)
        low, high = float(space.low.min()), float(space.high.max())
        bounded = -math.inf < low < high < math.inf
        return cls(
            height,
            width,
            channels // info.frame_stack if has_channels else 1,
            key,
            has_channels,
            has_channels and channels_last(space),
            low if bounded else 0.0,
            1 / (high - low) if bounded else 1.0,
        )

    def pixels(self, observations: Any) -> Tensor:
        """The newest frames of observations [...], as the environment gave them: [..., H, W, channels]."""
        images: Tensor = observations[self.key] if isinstance(observations, Mapping) else observations
        if not self.has_channels:
            images = images.unsqueeze(-1)
        elif not self.channels_last:
            images = images.movedim(-3, -1)
        return images[..., -self.channels :]

    def intensities(self, pixels: Tensor) -> Tensor:
        """Pixels as float32; they lie in [0, 1] if the space has bounds."""
        import torch

        return (pixels.to(torch.float32) - self.low) * self.scale


def _image_of(space: Any) -> tuple[str | None, Box | None]:
    """The first image of an observation space and its key; images with channels come before boards."""
    parts = space.spaces.items() if isinstance(space, Dict) else [(None, space)]
    found = [(key, part) for key, part in parts if isinstance(part, Box) and _is_large_enough(part)]
    return min(found, key=lambda pair: not is_image(pair[1]), default=(None, None))


def _is_large_enough(space: Box) -> bool:
    if is_image(space):
        return min(image_shape(space)[:2]) >= FEWEST
    return len(space.shape) == 2 and min(space.shape) >= FEWEST
