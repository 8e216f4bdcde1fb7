"""Which spaces are those of images, and how their axes lie."""

from __future__ import annotations

from gymnasium.spaces import Box


def is_image(space: Box) -> bool:
    """Whether a space is treated as images: it has three axes."""
    return len(space.shape) == 3


def channels_last(space: Box) -> bool:
    """Whether the channels of an image space are its last axis, else they are its first.

    Two equal neighbours are height and width, so the remaining axis holds the channels. Otherwise the smaller of the
    two outer axes does. A tie means channels last.
    """
    first, middle, last = space.shape
    if first == middle:
        return True
    return middle != last and last <= first


def image_shape(space: Box) -> tuple[int, int, int]:
    """Height, width and channels of an image space."""
    if channels_last(space):
        height, width, channels = space.shape
    else:
        channels, height, width = space.shape
    return height, width, channels
