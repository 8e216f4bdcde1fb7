"""Catch: rules, knobs, the vector against the single game, and Gymnasium's own checker."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import asyncrl.envs
from asyncrl.envs.catch import CatchVectorEnv
from asyncrl.errors import UserError

assert asyncrl.envs


def optimal(board: np.ndarray[Any, Any]) -> int:
    """Moves the paddle below the ball."""
    rows, columns = np.nonzero(board[:-1])
    if len(rows) == 0:
        return 1
    ball, paddle = columns[rows.argmax()], int(np.nonzero(board[-1])[0][0])
    return 1 + int(np.sign(ball - paddle))


def play(env: gymnasium.Env[Any, Any], policy: Any, episodes: int) -> list[float]:
    returns = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(policy(observation))
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


def test_registered_and_passes_gymnasiums_checker() -> None:
    env = gymnasium.make("Catch-v0")
    check_env(env.unwrapped, skip_render_check=True)
    assert isinstance(gymnasium.make_vec("Catch-v0", 3).unwrapped, CatchVectorEnv)


def test_the_best_policy_always_catches_and_a_random_one_seldom() -> None:
    env = gymnasium.make("Catch-v0")
    assert set(play(env, optimal, 50)) == {1.0}
    random = np.random.default_rng(0)
    assert -0.9 < np.mean(play(env, lambda _: random.integers(3), 300)) < -0.3


def test_an_episode_takes_as_many_steps_as_rows_to_fall() -> None:
    env = gymnasium.make("Catch-v0", rows=7)
    env.reset(seed=0)
    ends = [env.step(1)[2] for _ in range(6)]
    assert ends == [False] * 5 + [True]


def test_the_vector_resets_itself_on_the_step_after_an_end() -> None:
    games = CatchVectorEnv(4, rows=3)
    first, _ = games.reset(seed=1)
    assert np.array_equal(first[:, 0].sum(1), np.ones(4))  # each ball in the top row
    games.step(np.ones(4, np.int64))
    final, rewards, terminated, _, _ = games.step(np.ones(4, np.int64))
    assert terminated.all()
    assert set(rewards) <= {-1.0, 1.0}
    assert not final[:, 0].any()  # the final observation has no ball in the top row
    fresh, rewards, terminated, _, _ = games.step(np.ones(4, np.int64))
    assert not rewards.any()
    assert not terminated.any()
    assert np.array_equal(fresh[:, 0].sum(1), np.ones(4))


def test_knobs() -> None:
    games = CatchVectorEnv(1, rows=6, columns=4, paddle_width=2, balls=3, ball_interval=2)
    board, _ = games.reset(seed=0)
    assert board.shape == (1, 6, 4)
    assert board[0, -1].sum() == 2
    seen = 0
    for _ in range(9):  # the last ball starts at step 4 and lands at step 9
        board, _, terminated, _, _ = games.step(np.ones(1, np.int64))
        seen = max(seen, int(board[0, :-1].sum()))
    assert terminated[0]
    assert seen == 3
    noisy, _ = CatchVectorEnv(1, rows=40, columns=40, noise=0.25).reset(seed=0)
    assert 0.2 < noisy.mean() < 0.3


def test_memory_hides_the_ball_and_holds_the_paddle_while_it_is_seen() -> None:
    games = CatchVectorEnv(8, memory=True)
    boards, _ = games.reset(seed=0)
    assert boards[:, 0].any(1).all()
    after_left, *_ = games.step(np.zeros(8, np.int64))
    assert not after_left[:, :-1].any()  # the ball is gone from sight
    assert np.array_equal(after_left[:, -1], boards[:, -1])  # and the paddle has not moved


@pytest.mark.parametrize(
    "knobs", [{"rows": 1}, {"paddle_width": 9}, {"balls": 0}, {"ball_interval": 0}, {"noise": 0.7}]
)
def test_impossible_knobs_are_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="Catch"):
        CatchVectorEnv(1, **knobs)


def test_picture() -> None:
    env = gymnasium.make("Catch-v0", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (240, 120, 3)  # type: ignore[union-attr]
