"""Labyrinth in Doom: maps against the mazes that they are made of, and what touching an object does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_checker import data_equivalence as equal

pytest.importorskip("vizdoom", reason="ViZDoom is not installed: pip install -e '.[vizdoom]'")

from asyncrl.envs.doom_labyrinth import env as module
from asyncrl.envs.doom_labyrinth.env import DoomLabyrinthEnv
from asyncrl.envs.doom_labyrinth.wad import CELL, archive, text_map
from asyncrl.envs.labyrinth import state
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.resolution import resolve, starting_point

pytestmark = pytest.mark.timeout(120)

FORWARD = np.int64(4)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes small labyrinths with two mazes in an archive."""
    monkeypatch.setattr(module, "MAZES", 2)
    made: list[DoomLabyrinthEnv] = []

    def make_one(**knobs: Any) -> DoomLabyrinthEnv:
        made.append(DoomLabyrinthEnv(**{"size": 5, "apples": 3, **knobs}))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


def go(env: DoomLabyrinthEnv, place: Any) -> float:
    """Puts the agent at a place, in cells, and returns the reward of a few steps there."""
    env.game.send_game_command(f"warp {place[0] * CELL} {-place[1] * CELL}")
    total = 0.0
    for _ in range(4):  # the engine keeps the agent from walking for some tics
        _, reward, terminated, *_ = env.step(FORWARD)
        total += reward
        if reward or terminated:
            break
    return total


def places(env: DoomLabyrinthEnv, kind: int) -> Any:
    worlds = env.mazes.worlds
    return worlds.places[env.number][worlds.kinds[env.number] == kind]


def test_walls_of_a_map_are_the_borders_of_open_cells() -> None:
    walls = np.ones((5, 5), np.uint8)
    walls[1, 1:4] = walls[2:4, 3] = 0
    walls[0, 2] = 3
    text = text_map(walls, [(1, 1.5, 1.5)])
    corners = [tuple(map(int, pair)) for pair in re.findall(r"vertex . x = (\S+); y = (\S+);", text)]
    lines = [tuple(map(int, line)) for line in re.findall(r"v1 = (\d+); v2 = (\d+); sidefront = (\d+)", text)]
    textures = re.findall(r'texturemiddle = "(\w+)"', text)
    found = {}
    for first, second, side in lines:
        (x1, y1), (x2, y2) = corners[first], corners[second]
        middle, right = ((x1 + x2) / 2, (y1 + y2) / 2), ((y2 - y1) / 2, (x1 - x2) / 2)  # the front is on the right
        inside = int((middle[0] + right[0]) // CELL), int(-(middle[1] + right[1]) // CELL)
        outside = int((middle[0] - right[0]) // CELL), int(-(middle[1] - right[1]) // CELL)
        found[inside, outside] = textures[side]
    expected = {
        ((x, y), (x + dx, y + dy)): "STONE2" if (y + dy, x + dx) == (0, 2) else "STARTAN2"
        for y, x in np.argwhere(walls == 0).tolist()
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
        if walls[y + dy, x + dx]
    }
    assert found == expected


def test_an_archive_lists_its_lumps() -> None:
    data = archive(["one", "two"])
    assert data[:4] == b"PWAD"
    count, directory = np.frombuffer(data, np.int32, 2, 4)
    names = []
    for entry in range(count):
        position, size = np.frombuffer(data, np.int32, 2, directory + 16 * entry)
        names.append((data[directory + 16 * entry + 8 :][:8].rstrip(b"\0"), data[position : position + size]))
    assert names == [
        (b"MAP01", b""),
        (b"TEXTMAP", b"one"),
        (b"ENDMAP", b""),
        (b"MAP02", b""),
        (b"TEXTMAP", b"two"),
        (b"ENDMAP", b""),
    ]


def test_apples_pay_once_and_the_portal_brings_them_back(make: Any) -> None:
    env = make()
    env.reset(seed=1)
    apples = places(env, state.APPLE)
    assert go(env, apples[0]) == 1
    assert int(env.mazes.worlds.present[env.number].sum()) == 3
    assert go(env, apples[0]) == 0
    assert go(env, apples[1]) == 1
    (portal,) = places(env, state.PORTAL)
    assert go(env, portal) == 10
    assert env.mazes.worlds.present[env.number].all()
    assert np.abs(env.mazes.worlds.position[env.number] - portal).max() > 0.4
    assert go(env, apples[0]) == 1


def test_without_a_portal_the_last_apple_terminates(make: Any) -> None:
    env = make(portal=False, apples=2)
    env.reset(seed=1)
    assert [go(env, apple) for apple in places(env, state.APPLE)] == [1, 1]
    assert not env.mazes.worlds.present[env.number].any()


def test_each_episode_has_a_new_maze_and_equal_seeds_have_equal_ones(make: Any) -> None:
    env, other, mazes = make(seconds=0.5), make(seconds=0.5), []
    for episode in range(4):  # two archives
        first, again = (one.reset(seed=5 if episode == 0 else None) for one in (env, other))
        assert equal(first, again)
        mazes.append(env.mazes.worlds.walls[env.number].tobytes())
        steps = [(env.step(FORWARD), other.step(FORWARD)) for _ in range(4)]
        assert all(equal(one, two) for one, two in steps)
        assert [one[3] for one, _ in steps] == [False, False, False, True]
    assert len(set(mazes)) == 4


def test_a_numbered_maze_stays(make: Any) -> None:
    env = make(maze=3)
    env.reset(seed=1)
    walls, game = env.mazes.worlds.walls.copy(), env.game
    started = []
    env.game = type("Game", (), {"__getattr__": lambda _, name: started.append(name) or getattr(game, name)})()
    env.reset()
    assert "init" not in started  # the engine goes on
    env.game = game
    assert np.array_equal(walls, env.mazes.worlds.walls)


def test_it_keeps_gymnasium_rules_and_draws_a_map(make: Any) -> None:
    env = make(render_mode="rgb_array", maze=1)
    check_env(env, skip_render_check=True)
    assert env.render().shape == (336, 672, 3)


def test_the_preset_is_that_of_vizdoom() -> None:
    settings = resolve(starting_point("VizdoomLabyrinth"), {"workers": 1})
    assert settings.preset == "tuned/vizdoom"
    info = describe(settings)
    assert info.frames_per_step == 4
    assert info.observation_space.shape == (60, 80, 3)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"layout": "t-maze"}, "LabyrinthTMaze-v0"),
        ({"frame_skip": 0}, "frame_skip must be at least 1"),
        ({"screen_resolution": "RES_84X84"}, "no screen_resolution 'RES_84X84'"),
        ({"size": 31, "apples": 101}, "at most 100 apples"),
        ({"size": 4}, "odd number"),
    ],
)
def test_arguments_that_make_no_sense(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DoomLabyrinthEnv(**knobs)
