"""Walking, rewards and the ends of episodes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from asyncrl.envs.labyrinth.env import LabyrinthVectorEnv
from asyncrl.envs.labyrinth.state import ACTIONS, APPLE, BODY
from tests.envs.labyrinth.scenes import FORWARD, LEFT, act, place, put


def room(**knobs: object) -> LabyrinthVectorEnv:
    """A room with an agent in its middle and all objects in corners."""
    env = LabyrinthVectorEnv(layout="room", size=9, **{"apples": 2, "portal": False, **knobs})
    env.reset(seed=0)
    place(env, 4.5, 4.5)
    for i in range(env.knobs.objects):
        env.worlds.places[0, i] = (1.5, 1.5 + i)
    return env


@pytest.mark.parametrize("layout", ["maze", "room"])
def test_a_body_never_enters_a_wall(layout: str) -> None:
    env = LabyrinthVectorEnv(24, layout=layout, size=7, apples=1)
    env.reset(seed=0)
    random = np.random.default_rng(0)
    corners = BODY * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
    everyone, touched = np.arange(24)[:, None], 0
    for _ in range(250):
        before = env.worlds.position.copy()
        rewards = env.step(random.choice(8, 24, p=[0.1] * 4 + [0.3, 0.1, 0.1, 0.1]))[1]
        x, y = np.moveaxis((env.worlds.position[:, None] + corners).astype(int), -1, 0)
        assert not env.worlds.walls[everyone, y, x].any()
        moved = np.abs(env.worlds.position - before).max(1)
        assert (moved[rewards < 10] < 0.2134).all()
        touched += int((np.abs(env.worlds.position % 1 - BODY) < 1e-6).any(1).sum())
    assert touched > 500  # agents stood at walls often


def test_moves_follow_the_heading() -> None:
    step = 3.2 / 15
    for heading, ahead in ((0, (1, 0)), (90, (0, 1)), (180, (-1, 0)), (270, (0, -1))):
        env = room()
        for name, sign, direction in (
            ("forward", 1, ahead),
            ("backward", -1, ahead),
            ("strafe right", 1, (-ahead[1], ahead[0])),
            ("strafe left", -1, (-ahead[1], ahead[0])),
        ):
            place(env, 4.5, 4.5, heading)
            act(env, ACTIONS.index(name))
            assert env.worlds.position[0] - 4.5 == pytest.approx(sign * step * np.array(direction))


def test_turns_come_at_two_speeds_and_go_around() -> None:
    env = room()
    headings = []
    for name in ("look left", "look left quickly", "look right", "look right quickly"):
        act(env, ACTIONS.index(name))
        headings.append(int(env.worlds.heading[0]))
    assert headings == [352, 328, 336, 0]


def test_a_body_slides_along_a_wall_that_it_walks_against() -> None:
    env = room()
    place(env, 4.5, 7.7, 45)  # to the south-east, with a wall in the south
    act(env, FORWARD)
    assert env.worlds.position[0] == pytest.approx([4.5 + 3.2 / 15 / np.sqrt(2), 8 - BODY])


def test_an_apple_gives_1_once_and_the_last_one_ends_an_episode_without_a_portal() -> None:
    env = room()
    put(env, 0, APPLE, 5.05, 4.5)
    _, rewards, terminated, truncated, _ = act(env, FORWARD)
    assert (rewards[0], terminated[0], truncated[0]) == (1, False, False)
    assert act(env, LEFT)[1] == 0
    assert list(env.worlds.present[0]) == [False, True]
    place(env, 1.5, 2.5)
    _, rewards, terminated, truncated, _ = act(env, LEFT)
    assert (rewards[0], terminated[0], truncated[0]) == (1, True, False)


def test_the_portal_gives_10_and_takes_the_agent_away_and_brings_the_apples_back() -> None:
    env = room(apples=2, portal=True)
    places = set()
    for _ in range(20):
        env.worlds.present[0, :2] = False
        place(env, *(env.worlds.places[0, 2] + (0.55, 0)), heading=180)
        _, rewards, terminated, truncated, _ = act(env, FORWARD)
        assert (rewards[0], terminated[0], truncated[0]) == (10, False, False)
        assert env.worlds.present.all()
        assert np.hypot(*(env.worlds.position[0] - env.worlds.places[0, 2])) >= 1
        places.add(tuple(env.worlds.position[0]))
    assert len(places) > 10


def test_with_a_portal_no_apples_are_left_and_the_episode_goes_on() -> None:
    env = room(apples=1, portal=True)
    place(env, 1.5, 1.5)
    assert not act(env, LEFT)[2][0]


@pytest.mark.parametrize("arm", [1, 2])
def test_an_end_of_a_t_maze_gives_1_if_it_is_correct_and_terminates(arm: int) -> None:
    env = LabyrinthVectorEnv(20, layout="t-maze", size=9, apples=0, portal=False)
    env.reset(seed=0)
    correct = env.worlds.kinds[:, arm] == env.worlds.kinds[:, [1, 2]].min(1)  # the correct end has the lower number
    for b in range(20):
        place(env, *env.worlds.places[b, arm], b=b)
    _, rewards, terminated, _, _ = act(env, LEFT)
    assert terminated.all()
    assert np.array_equal(rewards, correct)


def test_the_cue_of_a_t_maze_is_gone_once_the_agent_has_walked_on() -> None:
    env = LabyrinthVectorEnv(7, layout="t-maze", size=9, apples=0, portal=False)
    env.reset(seed=0)
    env.worlds.position[:, 0] += np.linspace(-0.299, 0.299, 7)  # wherever in the corridor it walks
    total = sum(act(env, FORWARD)[1] for _ in range(12))
    assert not env.worlds.present[:, 0].any()
    assert (env.worlds.position[:, 1] < 5).all()
    assert not total.any()


def test_time_truncates_and_the_next_step_begins_a_new_episode() -> None:
    env = LabyrinthVectorEnv(3, size=5, apples=1, seconds=2)
    env.reset(seed=0)
    walls = env.worlds.walls.copy()
    ends = [act(env, LEFT)[2:4] for _ in range(30)]
    assert [bool(truncated.all()) for _, truncated in ends] == [False] * 29 + [True]
    assert not np.array([terminated for terminated, _ in ends]).any()
    _, rewards, terminated, truncated, _ = act(env, FORWARD)
    assert not np.array([rewards, terminated, truncated]).any()
    assert (env.worlds.time == 0).all()
    assert (env.worlds.walls != walls).any()
