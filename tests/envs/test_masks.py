"""Action masks from environments to the agent, and agents that learn with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from asyncrl.agent import untrained
from asyncrl.algorithms import VALUE_BASED
from asyncrl.analysis.episode import EpisodePlayer
from asyncrl.api import train
from asyncrl.envs.make import describe, make_environments
from asyncrl.errors import UserError
from asyncrl.types import ACTION_MASK, OBSERVATION
from tests.experiments import PLAIN, small

MENU = "tests.environments:test/Menu-v0"


def menu(**options: Any) -> Any:
    return small(MENU, environment_options=options)


@pytest.mark.parametrize("options", [{}, {"where": "key"}, {"several": True}, {"where": "key", "several": True}])
def test_masks_are_those_of_the_environments_and_last_through_resets(options: dict[str, Any]) -> None:
    experiment = menu(**options)
    info = describe(experiment)
    assert info.masked
    assert isinstance(info.observation_space, Dict)
    assert set(info.observation_space.spaces) == {OBSERVATION, ACTION_MASK}
    environments = make_environments(experiment, 3, masked=True)
    menus: Any = [env.unwrapped for env in environments.unwrapped.envs]  # type: ignore[attr-defined]
    observations, _ = environments.reset(seed=1)
    random, ends = np.random.default_rng(0), 0
    for _ in range(30):
        masks = observations[ACTION_MASK]
        assert masks.dtype == np.int8
        ended = np.array([one.time == 10 for one in menus])
        ends += int(ended.sum())
        for number in np.flatnonzero(~ended):
            assert masks[number].tolist() == np.concatenate(menus[number].masks).astype(int).tolist()
        assert masks[ended].all()  # no action follows a terminal state
        split = np.split(masks, np.cumsum(menus[0].sizes)[:-1], 1)
        chosen = np.stack([(part * random.random(part.shape)).argmax(1) for part in split], 1)
        observations, *_ = environments.step(chosen if options.get("several") else chosen[:, 0] + 3)
    assert ends == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fault": "empty"}, "environment 0: its action_mask allows no action, but the episode goes on"),
        ({"fault": "empty", "several": True}, "allows no action"),
        ({"fault": "missing"}, "environment 0: no action_mask in its info"),
        ({"fault": "shape"}, r"shape \(6,\), but Discrete.* needs \(4,\): one entry for each action"),
        ({"fault": "shape", "several": True}, r"shape \(7,\), but MultiDiscrete.* needs \(5,\): one entry for each"),
    ],
)
def test_a_wrong_mask_is_one_clear_line(in_tmp: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(MENU, environment_options=options, runtime="serial", workers=1, steps=2000, run_dir="run")


class Steered(gymnasium.Env[Any, Any]):
    """Continuous actions with a mask, which cannot be."""

    observation_space, action_space = Box(0, 1, (2,)), Box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {"action_mask": np.ones(2, np.int8)}


gymnasium.register(id="test/Steered-v0", entry_point="tests.envs.test_masks:Steered")


def test_masks_of_continuous_actions_are_refused() -> None:
    with pytest.raises(UserError, match="an action_mask, which Box actions cannot have"):
        describe(small("test/Steered-v0"))


@pytest.mark.parametrize("options", [{}, {"where": "key"}, {"several": True}])
def test_an_agent_plays_and_predicts_within_its_masks(options: dict[str, Any]) -> None:
    agent = untrained(menu(**options))
    assert agent.evaluate(episodes=20).length_mean == 10  # a forbidden action would raise
    with EpisodePlayer(agent) as player:
        assert sum(1 for _ in player.play(2, deterministic=False, seed=0)) == 22
    env: Any = gymnasium.make("test/Menu-v0", **options).unwrapped
    observation, info = env.reset(seed=0)
    state = None
    for _ in range(10):
        action, state = agent.predict(observation, state, action_mask=info.get("action_mask"))
        observation, _, _, _, info = env.step(action)


def test_predict_asks_for_the_mask_in_one_line() -> None:
    agent = untrained(menu())
    with pytest.raises(ValueError, match=r'pass action_mask=info\["action_mask"\]'):
        agent.predict(np.zeros(4))
    with pytest.raises(ValueError, match="allows no action"):
        agent.predict(np.zeros(4), action_mask=np.zeros(4))
    actions, _ = agent.predict(np.zeros((50, 4)), action_mask=np.tile([0, 1, 0, 0], (50, 1)))
    assert (actions == 3 + 1).all()  # the space starts at 3
    assert untrained(small("Taxi-v4")).predict(37, action_mask=[0, 0, 0, 0, 1, 0])[0] == 4  # Taxi masks by its info
    with pytest.raises(ValueError, match="without action masks: leave out action_mask"):
        untrained(small("CartPole-v1")).predict(np.zeros(4), action_mask=[1, 1])


@pytest.mark.parametrize(
    ("algorithm", "options", "memory"),
    [
        *[(name, {}, "none") for name in ("a3c", *VALUE_BASED)],
        ("a3c", {"several": True, "where": "key"}, "none"),
        ("a3c", {}, "lstm"),
        ("nstep-q", {"where": "key"}, "lstm"),
    ],
)
def test_every_method_learns_where_forbidden_actions_raise(
    in_tmp: Path, algorithm: str, options: dict[str, Any], memory: Any
) -> None:
    exploration = {} if algorithm == "a3c" else {"exploration_steps": 4000, "target_interval": 500}
    result = train(
        MENU,
        environment_options=options,
        algorithm=algorithm,
        memory=memory,
        runtime="serial",
        workers=1,
        run_dir="run",
        hidden=(32,),
        memory_size=32,
        envs_per_worker=16,
        steps=10_000,
        rollout_length=5,
        discount=0.0,
        **{**PLAIN, "learning_rate": 0.01},
        **exploration,
    )
    # chance is 5.3 with four actions, and 6.6 with the cheaper one of three and of two
    assert result.load().evaluate(episodes=50, deterministic=True).return_mean > 8.5
