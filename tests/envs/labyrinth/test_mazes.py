"""Mazes, rooms and T-mazes: what is open, and where objects lie."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import label

pytest.importorskip("numba")

from asyncrl.envs.labyrinth.env import LabyrinthVectorEnv
from asyncrl.envs.labyrinth.state import APPLE, CORRECT_END, LEFT_CUE, PORTAL, RIGHT_CUE, WRONG_END


def edges(is_open: NDArray[np.bool_]) -> int:
    """Number of pairs of open cells side by side."""
    return int((is_open[1:] & is_open[:-1]).sum() + (is_open[:, 1:] & is_open[:, :-1]).sum())


@pytest.mark.parametrize("size", [5, 7, 15, 21])
def test_every_maze_is_a_spanning_tree(size: int) -> None:
    env = LabyrinthVectorEnv(50, size=size, apples=2)
    env.reset(seed=size)
    for walls in env.worlds.walls:
        is_open = walls == 0
        assert label(is_open)[1] == 1  # connected
        assert edges(is_open) == is_open.sum() - 1 == env.knobs.open_cells - 1  # without a circle
        assert is_open[1::2, 1::2].all()
        assert not (is_open[[0, -1]].any() | is_open[:, [0, -1]].any())
    assert len(np.unique(env.worlds.walls > 0, axis=0)) >= {5: 4, 7: 30}.get(size, 50)  # there are 4 of size 5


def test_objects_and_agents_begin_in_open_cells_of_their_own() -> None:
    env = LabyrinthVectorEnv(200, size=5, apples=5)  # with portal and agent, all 7 open cells
    env.reset(seed=0)
    worlds = env.worlds
    assert (worlds.kinds == [APPLE] * 5 + [PORTAL]).all()
    places = np.concatenate([worlds.places, worlds.position[:, None]], 1)
    for walls, cells in zip(worlds.walls, places.astype(int), strict=True):
        assert not walls[cells[:, 1], cells[:, 0]].any()
        assert len(np.unique(cells, axis=0)) == 7
    assert np.unique(worlds.heading).size > 100
    assert (places % 1 == 0.5).all()


def test_a_maze_has_as_many_textures_as_asked_for() -> None:
    for count in (1, 3, 8):
        env = LabyrinthVectorEnv(30, size=21, textures=count)
        env.reset(seed=0)
        used = [set(np.unique(walls)) - {0} for walls in env.worlds.walls]
        assert {len(textures) for textures in used} == {count}
        assert set.union(*used) == set(range(1, 9))


def test_a_numbered_maze_is_the_same_in_each_episode_but_the_agent_begins_anywhere() -> None:
    env = LabyrinthVectorEnv(20, maze=3)
    env.reset(seed=0)
    for part in (env.worlds.walls, env.worlds.places, env.worlds.kinds, env.worlds.floor, env.worlds.sky):
        assert (part == part[0]).all()
    assert len(np.unique(env.worlds.position, axis=0)) > 10
    other = LabyrinthVectorEnv(1, maze=4)
    other.reset(seed=0)
    assert (other.worlds.walls[0] != env.worlds.walls[0]).any()


def test_a_room_has_no_inner_walls() -> None:
    env = LabyrinthVectorEnv(2, layout="room", size=9, apples=8)
    env.reset(seed=0)
    assert (env.worlds.walls[:, 1:-1, 1:-1] == 0).all()
    assert (env.worlds.walls > 0).sum() == 2 * 32


def test_the_cue_of_a_t_maze_says_which_end_is_correct() -> None:
    env = LabyrinthVectorEnv(100, layout="t-maze", size=9, apples=0, portal=False)
    env.reset(seed=0)
    kinds = env.worlds.kinds
    is_left = kinds[:, 0] == LEFT_CUE
    assert 30 < is_left.sum() < 70
    assert (kinds[is_left] == [LEFT_CUE, CORRECT_END, WRONG_END]).all()
    assert (kinds[~is_left] == [RIGHT_CUE, WRONG_END, CORRECT_END]).all()
    assert (env.worlds.places[:, 1, 0] < env.worlds.places[:, 2, 0]).all()
