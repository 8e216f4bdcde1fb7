"""What agents see: against rays that are traced pixel by pixel, and what hides what."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")

from asyncrl.envs.labyrinth.env import LabyrinthVectorEnv
from asyncrl.envs.labyrinth.sprites import pictures
from asyncrl.envs.labyrinth.state import APPLE, PORTAL, Pictures
from tests.envs.labyrinth import reference
from tests.envs.labyrinth.scenes import look, place, put

HEIGHT = 84


def plain() -> Pictures:
    """Pictures of one colour each, opaque, so that pixels can differ only where outlines lie."""
    real = pictures()
    walls, floors, sky, sprites = (np.zeros_like(part) for part in real[:4])
    for part, first in ((walls, 10), (floors, 40), (sprites, 60)):
        for i in range(len(part)):
            part[i] = (first + i) | 255 << 24
    walls[:, 1] |= 128 << 8
    sky[:] = 200
    return Pictures(walls, floors, sky, sprites, real.outlines)


def differing(frames: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of pixels that differ in each frame."""
    count: NDArray[np.int64] = (frames != others).any(-1).sum((1, 2))
    return count


def scenes(env: LabyrinthVectorEnv, seed: int) -> NDArray[np.uint8]:
    """Agents at random places of random mazes, with random headings, all objects at random places."""
    env.reset(seed=seed)
    random = np.random.default_rng(seed)
    for b in range(env.num_envs):
        cells = np.argwhere(env.worlds.walls[b] == 0)[:, ::-1] + 0.5
        chosen = random.permutation(len(cells))
        place(env, *(cells[chosen[0]] + random.uniform(-0.3, 0.3, 2)), int(random.integers(360)), b)
        for i in range(env.knobs.objects):
            env.worlds.places[b, i] = cells[chosen[1 + i]]
    return look(env)


@pytest.mark.parametrize("layout", ["maze", "room"])
def test_outlines_are_those_of_rays_traced_pixel_by_pixel(layout: str) -> None:
    env = LabyrinthVectorEnv(6, layout=layout, size=7, apples=7, textures=8)
    env.pictures = plain()
    frames = scenes(env, 1)
    slow = np.stack([reference.view(env.worlds, env.pictures, b) for b in range(6)])
    assert differing(frames, slow).max() <= 2  # of 7,056, where a ray meets an edge
    colors = {int(color) for color in frames[..., 0].ravel()}
    assert colors >= ({60 + APPLE, 60 + PORTAL} if layout == "room" else {60 + APPLE})
    assert len(colors) > 6


def test_textures_are_those_of_rays_traced_pixel_by_pixel() -> None:
    env = LabyrinthVectorEnv(4, size=7, apples=5, textures=8)
    frames = scenes(env, 2)
    slow = np.stack([reference.view(env.worlds, env.pictures, b) for b in range(4)])
    assert differing(frames, slow).max() <= 0.005 * HEIGHT**2  # where a ray meets the border of a texel


def test_walls_hide_objects_and_near_objects_hide_far_ones() -> None:
    env = LabyrinthVectorEnv(layout="room", size=9, apples=1)
    env.pictures = plain()
    env.reset(seed=0)
    place(env, 1.5, 4.5)
    put(env, 0, APPLE, 4.5, 4.5)
    put(env, 1, PORTAL, 6.5, 4.5)

    def middle() -> int:
        return int(look(env)[0, 43, 42, 0])

    assert middle() == 60 + APPLE
    put(env, 0, APPLE, 7.5, 4.5)
    assert middle() == 60 + PORTAL
    env.worlds.walls[0, 4, 5] = 1
    assert middle() == 10  # the wall
    without = look(env)
    env.worlds.present[:] = False
    assert np.array_equal(look(env), without)
    env.worlds.present[:] = True
    env.worlds.walls[0, 4, 5] = 0
    place(env, 7.0, 4.5)  # the portal is behind
    assert middle() == 60 + APPLE


@pytest.mark.parametrize("heading", [0, 90, 180, 270])
def test_a_wall_right_ahead_is_a_straight_band_of_the_right_height(heading: int) -> None:
    env = LabyrinthVectorEnv(layout="room", size=9, apples=1, portal=False, textures=1)
    env.pictures = plain()
    env.reset(seed=0)
    env.worlds.present[:] = False
    place(env, 4.5, 4.5, heading)  # 3.5 cells before each wall, which is 1 high: 12 pixels
    frame = look(env)[0]
    is_wall = frame[..., 0] == 10 + env.worlds.walls[0, 0, 0] - 1
    rows = np.flatnonzero(is_wall[:, 42])
    assert (rows[0], rows[-1]) == (36, 47)
    assert (is_wall[:, 42:43] == is_wall).all()  # walls that are seen at an angle begin outside the view


def test_an_object_has_the_right_size() -> None:
    env = LabyrinthVectorEnv(layout="room", size=9, apples=1, portal=False)
    env.pictures = plain()
    env.reset(seed=0)
    place(env, 1.5, 4.5)
    put(env, 0, APPLE, 3.5, 4.5)  # 2 cells away: 21 pixels are 1 cell
    rows, columns = np.nonzero(look(env)[0, :, :, 0] == 60 + APPLE)
    assert np.ptp(columns) + 1 == round(0.4 * 21)
    assert np.ptp(rows) + 1 == pytest.approx(0.4 * 21, abs=1)
    assert columns.mean() == pytest.approx(41.5)
