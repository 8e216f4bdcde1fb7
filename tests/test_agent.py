"""Agents: predict for one observation and for a batch, with recurrent state, and without the environment."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import asyncrl
import tests.environments  # noqa: F401  (registers the environments)
from asyncrl import UserError
from asyncrl.agent import untrained
from tests.experiments import small

QUICK = {"runtime": "serial", "workers": 1, "steps": 600, "until_return": None}


def test_predict_for_one_observation_and_for_a_batch(in_tmp: Path) -> None:
    agent = asyncrl.train("CartPole-v1", run_dir="run", **QUICK).load()
    action, state = agent.predict(np.zeros(4), deterministic=True)
    assert np.shape(action) == ()
    assert state == ()
    actions, _ = agent.predict(np.zeros((3, 4)), deterministic=True)
    assert actions.tolist() == [int(action)] * 3
    with pytest.raises(ValueError, match=r"an observation has the shape \(4,\), a batch \('B', 4\); this has \(5,\)"):
        agent.predict(np.zeros(5))


def test_predict_carries_its_recurrent_state(in_tmp: Path) -> None:
    agent = asyncrl.train("CatchMemory", run_dir="run", memory="lstm", **QUICK).load()
    env = gymnasium.make("CatchMemory-v0")
    observation, _ = env.reset(seed=0)
    _, state = agent.predict(observation)
    assert [tuple(tensor.shape) for tensor in state] == [(1, 64)] * 2
    _, later = agent.predict(observation, state)
    assert not np.array_equal(state[0], later[0])


@pytest.mark.parametrize("environment", ["FrozenLake-v1", "Blackjack-v1", "test/Mixed-v0", "test/Rooms-v0"])
def test_predict_takes_what_environments_give(environment: str) -> None:
    agent = untrained(small(environment))
    vector = SyncVectorEnv([lambda: gymnasium.make(environment)] * 3)
    observations, _ = vector.reset(seed=1)
    actions, _ = agent.predict(observations, deterministic=True)
    assert actions.shape[0] == 3
    vector.step(actions)
    for number, action in enumerate(actions):
        env = gymnasium.make(environment)
        single, _ = env.reset(seed=1 + number)
        chosen, _ = agent.predict(single, deterministic=True)
        assert np.array_equal(chosen, action)
        env.step(chosen)


def test_actions_that_do_not_start_at_zero(in_tmp: Path) -> None:
    agent = asyncrl.train("test/Rooms-v0", run_dir="run", **QUICK).load()  # its actions are 5 and 6
    actions, _ = agent.predict({"light": np.zeros((50, 2)), "room": np.zeros(50, int)})
    assert set(actions.tolist()) <= {5, 6}
    assert agent.evaluate(episodes=3).episodes == 3


def test_an_agent_predicts_where_its_environment_is_not_installed(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**QUICK, "steps": 2000}  # enough episodes for a best checkpoint
    there = asyncrl.train("test/Rooms-v0", run_dir="run", memory="gru", **settings).load()
    observation = {"light": np.ones((50, 2)), "room": np.zeros(50, int)}
    expected, _ = there.predict(observation, deterministic=True)
    monkeypatch.delitem(gymnasium.registry, "test/Rooms-v0")
    for checkpoint in ("last", "best"):
        agent = asyncrl.load("run", checkpoint=checkpoint)
        assert agent.info == there.info
        actions, (state,) = agent.predict(observation, deterministic=True)
        assert set(actions.tolist()) <= {5, 6}
        assert len(state) == 50
        assert checkpoint == "best" or np.array_equal(actions, expected)
        with pytest.raises(UserError, match="unknown environment 'test/Rooms-v0'"):
            agent.evaluate(episodes=1)


def test_an_environment_that_has_changed_since_is_refused_where_it_is_played(in_tmp: Path) -> None:
    asyncrl.train("Catch", run_dir="run", **QUICK)
    file = in_tmp / "run" / "experiment.yaml"
    file.write_text(file.read_text().replace("environment_options: {}", "environment_options: {rows: 7}"))
    agent = asyncrl.load("run")
    agent.predict(np.zeros((10, 5)))
    with pytest.raises(UserError, match="Catch-v0 has changed since the agent was trained: it observes"):
        agent.evaluate(episodes=1)


def test_every_environment_plays_its_share_of_an_evaluation(in_tmp: Path) -> None:
    agent = asyncrl.train("CartPole-v1", run_dir="run", **QUICK).load()
    one, two = (agent.evaluate(episodes=21, seed=5) for _ in range(2))
    assert one == two
    assert one.episodes == 21
    assert one.return_min <= one.return_mean <= one.return_max
    assert one.return_mean == pytest.approx(one.length_mean)  # CartPole's reward is 1 at each step


def test_wrong_settings_are_named(in_tmp: Path) -> None:
    with pytest.raises(UserError, match="has no setting 'learning_rat': did you mean 'learning_rate'"):
        asyncrl.train("CartPole-v1", learning_rat=1)
    with pytest.raises(UserError, match="has no setting 'network'"):
        asyncrl.train("CartPole-v1", network="big")
    for wrong in ({"memory": "LSTM"}, {"runtime": "thread"}, {"steps": "20k"}, {"optimizer": "adam"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            asyncrl.train("CartPole-v1", **wrong)
    assert not list(in_tmp.iterdir())
