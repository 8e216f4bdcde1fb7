"""The grid of cells over the middle of an environment's images, in which tasks see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrl.errors import UserError
from asyncrl.networks.newest_frame import FEWEST, NewestFrame

if TYPE_CHECKING:
    from torch import Tensor

    from asyncrl.types import EnvironmentInfo

CELLS = 20
"""Cells along the shorter side of an image, roughly: 20 of the 84 pixels of an Atari image, with 4 pixels each."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows and columns of square cells, each number even, in the middle of an image."""

    frame: NewestFrame
    rows: int
    columns: int
    side: int  # of a cell, in pixels

    @classmethod
    def of(cls, info: EnvironmentInfo, option: str) -> Cells:
        """The cells of an environment's images.

        Args:
            info: The environment. Of a Dict observation, the first image counts.
            option: Of the task that needs images, for the message.

        Raises:
            UserError: The environment observes no images.
        """
        frame = NewestFrame.of(info)
        if frame is None:
            raise UserError(
                f"{option} needs images of at least {FEWEST} x {FEWEST} pixels, which {info.id} does not observe: "
                f"add {option} 0"
            )
        side = max(1, min(frame.height, frame.width) // CELLS)
        return cls(frame, frame.height // side // 2 * 2, frame.width // side // 2 * 2, side)

    @property
    def top(self) -> int:
        """First row of pixels in the cells."""
        return (self.frame.height - self.rows * self.side) // 2

    @property
    def left(self) -> int:
        """First column of pixels in the cells."""
        return (self.frame.width - self.columns * self.side) // 2

    def images(self, observations: Any) -> Tensor:
        """The newest frames of observations [...], cropped: intensities [..., rows * side, columns * side, channels].

        They lie in [0, 1] if the space has bounds.
        """
        bottom, right = self.top + self.rows * self.side, self.left + self.columns * self.side
        pixels = self.frame.pixels(observations)[..., self.top : bottom, self.left : right, :]
        return self.frame.intensities(pixels)
