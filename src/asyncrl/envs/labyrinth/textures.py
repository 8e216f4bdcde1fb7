"""Computes the textures of walls and floors and the sky. Nothing is loaded from files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth.state import FULL_TURN, LEVELS, LEVELS_PER_CELL, SIZE, TEXELS
from asyncrl.envs.labyrinth.view import ROW_DISTANCES

Picture = NDArray[np.float64]  # [height, width, 3], 0 to 1


class Masonry(NamedTuple):
    """Blocks in rows with joints between them."""

    color: tuple[float, float, float]
    joint: tuple[float, float, float]
    rows: int
    columns: int
    shift: float  # of every second row, as a part of a block's width
    width: int  # of the joints, in texels
    grain: float  # how much blocks and texels differ in brightness


WALLS = (
    Masonry((0.66, 0.29, 0.20), (0.75, 0.72, 0.66), 8, 4, 0.5, 1, 0.14),  # bricks
    Masonry((0.55, 0.56, 0.58), (0.28, 0.28, 0.30), 4, 2, 0.5, 2, 0.16),  # stones
    Masonry((0.58, 0.40, 0.21), (0.26, 0.17, 0.08), 1, 6, 0.0, 1, 0.20),  # planks
    Masonry((0.20, 0.47, 0.18), (0.13, 0.33, 0.12), 16, 16, 0.5, 1, 0.45),  # hedge
    Masonry((0.35, 0.58, 0.78), (0.92, 0.95, 0.97), 4, 4, 0.0, 2, 0.06),  # tiles
    Masonry((0.80, 0.68, 0.42), (0.55, 0.45, 0.27), 3, 2, 0.5, 1, 0.14),  # sandstone
    Masonry((0.22, 0.52, 0.52), (0.08, 0.22, 0.24), 2, 2, 0.0, 3, 0.08),  # panels
    Masonry((0.55, 0.33, 0.60), (0.84, 0.76, 0.50), 1, 4, 0.0, 4, 0.08),  # stripes
)
FLOORS = (
    Masonry((0.45, 0.42, 0.38), (0.30, 0.28, 0.26), 4, 4, 0.0, 2, 0.14),  # flags
    Masonry((0.38, 0.30, 0.24), (0.22, 0.17, 0.13), 2, 8, 0.5, 1, 0.20),  # boards
    Masonry((0.30, 0.38, 0.30), (0.20, 0.27, 0.20), 8, 8, 0.5, 1, 0.30),  # moss
)


def masonry(style: Masonry, random: np.random.Generator) -> Picture:
    """Draws blocks [TEXELS, TEXELS, 3] that repeat without a seam."""
    y, x = np.mgrid[:TEXELS, :TEXELS]
    height, width = TEXELS / style.rows, TEXELS / style.columns
    row = (y / height).astype(int)
    along = (x + (row % 2) * style.shift * width) % TEXELS
    column = (along / width).astype(int)
    is_joint = (y % height < style.width * (style.rows > 1)) | (along % width < style.width)
    shades = 1 + style.grain * (random.random((style.rows, style.columns)) - 0.5)
    grain = 1 + style.grain * (random.random((TEXELS, TEXELS)) - 0.5)
    picture = np.where(is_joint[..., None], style.joint, np.array(style.color) * shades[row, column][..., None])
    result: Picture = np.clip(picture * grain[..., None], 0, 1)
    return result


def wall_textures() -> NDArray[np.uint32]:
    """Textures of walls [textures, 2, LEVELS, TEXELS, TEXELS], column by column; the second side is darker."""
    random = np.random.default_rng(0)
    distances = (np.arange(LEVELS) + 0.5) / LEVELS_PER_CELL
    result = np.empty((len(WALLS), 2, LEVELS, TEXELS, TEXELS), np.uint32)
    for i, style in enumerate(WALLS):
        picture = masonry(style, random).swapaxes(0, 1)
        for level, distance in enumerate(distances):
            seen = _blurred(picture, TEXELS * distance / (SIZE / 2)) * _brightness(distance)
            result[i, 0, level], result[i, 1, level] = packed(seen), packed(0.78 * seen)
    return result


def floor_textures() -> NDArray[np.uint32]:
    """Textures of floors [textures, SIZE / 2, TEXELS, TEXELS], blurred and darkened as each row of the view needs."""
    random = np.random.default_rng(1)
    result = np.empty((len(FLOORS), SIZE // 2, TEXELS, TEXELS), np.uint32)
    for i, style in enumerate(FLOORS):
        picture = masonry(style, random)
        for row, distance in enumerate(ROW_DISTANCES):
            texels = TEXELS * distance / (SIZE / 2)  # per pixel, from left to right
            blurred = _blurred(picture, texels * np.sqrt(max(1.0, 2 * distance)))
            result[i, row] = packed(blurred * _brightness(distance))
    return result


def sky() -> NDArray[np.uint32]:
    """Clouds above mountains [SIZE / 2, 2 · 2 · FULL_TURN]: two full turns, with two columns for a degree."""
    random = np.random.default_rng(2)
    height, width = SIZE // 2, 2 * FULL_TURN
    turns, rows = np.arange(width) * 2 * np.pi / width, np.arange(height)[:, None] / height
    blue = np.array([0.25, 0.48, 0.82]) * (1 - rows[..., None]) + np.array([0.74, 0.84, 0.94]) * rows[..., None]
    waves = [(k, random.uniform(0, 2 * np.pi), random.uniform(0, 2 * np.pi)) for k in range(3, 15)]
    clouds = sum(np.sin(k * turns + a + 2 * np.sin(k * rows + b)) / np.sqrt(k) for k, a, b in waves)
    cover = np.clip(clouds * 0.5, 0, 0.9)[..., None]
    peaks = sum(np.sin(k * turns + a) / k for k, a, _ in waves[:6])
    is_mountain = 1 - rows < 0.13 + 0.09 * peaks
    picture = np.where(is_mountain[..., None], (0.36, 0.38, 0.50), blue * (1 - cover) + cover)
    return np.concatenate([packed(picture)] * 2, 1)


def packed(picture: Picture) -> NDArray[np.uint32]:
    """Puts red, green, blue and, if there is one, opacity into one number for each texel."""
    parts = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint32)
    result: NDArray[np.uint32] = sum(parts[..., i] << np.uint32(8 * i) for i in range(parts.shape[-1]))  # type: ignore[assignment]
    return result


def _brightness(distance: float) -> float:
    return max(0.4, 1 / (1 + 0.08 * distance))


def _blurred(picture: Picture, texels: float) -> Picture:
    """Takes the mean over about so many texels each way, so that what is far away does not flicker."""
    if texels <= 1:
        return picture
    frequencies = np.fft.fftfreq(TEXELS)
    gain = np.exp(-((np.pi * frequencies * min(texels, TEXELS)) ** 2) / 4)
    spectrum = np.fft.fft2(picture, axes=(0, 1)) * gain[:, None, None] * gain[:, None]
    result: Picture = np.fft.ifft2(spectrum, axes=(0, 1)).real
    return result
