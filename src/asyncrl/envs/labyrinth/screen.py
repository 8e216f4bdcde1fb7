"""Pictures for people: the view with the map beside it, and a window that shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncrl.errors import UserError
from asyncrl.installing import install_command

HEIGHT = 336
"""Height of the picture, and width of each of its halves."""


def side_by_side(view: NDArray[np.uint8], map_: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarges the view and the map and puts one beside the other [HEIGHT, 2 · HEIGHT, 3]."""
    return np.concatenate([_enlarged(view), _enlarged(map_)], 1)


def _enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    nearest = (np.arange(HEIGHT) + 0.5) * len(picture) / HEIGHT
    indices = nearest.astype(np.int64)
    return picture[indices][:, indices]


class Screen:
    """A window, which opens with the first picture.

    Args:
        title: Its title.
        rate: Pictures per second at most.

    Raises:
        UserError: pygame is not installed.
    """

    def __init__(self, title: str, rate: int) -> None:
        try:
            import pygame
        except ImportError as error:
            needed = install_command("asyncrl[classic-control]")
            raise UserError(f'render_mode="human" needs pygame, which is not installed: {needed}') from error
        self._pygame, self._title, self._rate = pygame, title, rate
        self._window: Any = None

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Shows a picture [height, width, 3] and waits until the next is due."""
        pygame = self._pygame
        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption(self._title)
            self._window = pygame.display.set_mode((picture.shape[1], picture.shape[0]))
            self._clock = pygame.time.Clock()
        self._window.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._rate)

    def close(self) -> None:
        """Closes the window."""
        if self._window is not None:
            self._window = None
            self._pygame.display.quit()
