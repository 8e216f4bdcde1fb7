"""The paper's presets: protocol and lengths of the published runs."""

from __future__ import annotations

import pytest

from asyncrl.algorithms.acer import ACER
from asyncrl.algorithms.dqn import DQN
from asyncrl.algorithms.nfq import NFQ
from asyncrl.algorithms.pgq import PGQ
from asyncrl.algorithms.pqn import PQN
from asyncrl.algorithms.unreal import Unreal
from asyncrl.envs import atari
from asyncrl.envs.ids import find_spec
from asyncrl.envs.make import describe
from asyncrl.presets import find_preset
from asyncrl.types import WorkerInfo

DQNS = ["paper/dqn-2013", "paper/dqn-2015", "paper/double-dqn", "paper/dueling", "paper/prioritized", "paper/gorila"]
A3CS = ["paper/atari-57-ff", "paper/atari-57-lstm", "paper/atari-study-ff", "paper/atari-study-lstm"]
ATARI = [*A3CS, *DQNS, "paper/acer-atari", "paper/pgq-atari", "paper/unreal"]


@pytest.mark.parametrize("name", ATARI)
@pytest.mark.parametrize("environment", ["ALE/Breakout-v5", "ale_py:ALE/Breakout-v5", "BreakoutNoFrameskip-v4"])
def test_atari_games_are_played_by_the_protocol_of_2015(name: str, environment: str) -> None:
    experiment = find_preset(name).settings(environment, None)
    assert experiment.zero_discount_on_life_loss
    arguments = atari.settings(find_spec(environment), experiment.environment_options)
    assert arguments["repeat_action_probability"] == 0.0
    assert arguments["frameskip"] == 4
    assert arguments["noop_max"] == 30
    assert not arguments["use_fire_reset"]
    describe(experiment)


@pytest.mark.parametrize("name", DQNS)
def test_dqn_learns_32_steps_after_every_4_in_one_environment(name: str) -> None:
    experiment = find_preset(name).settings("ALE/Pong-v5", None)
    algorithm = experiment.algorithm
    assert isinstance(algorithm, DQN)
    assert (algorithm.rollout_length * algorithm.replay_ratio, algorithm.batch_size) == (32, 32)
    assert (experiment.worker_count, experiment.environment_count) == (1, 1)
    assert algorithm.double == (name not in ("paper/dqn-2013", "paper/dqn-2015", "paper/gorila"))


def test_gorila_pushes_every_gradient_to_a_server_with_adagrad() -> None:
    experiment = find_preset("paper/gorila").settings("ALE/Pong-v5", None)
    assert (experiment.runtime, experiment.worker_count) == ("ray", 1)  # on each node
    assert (experiment.cluster.exchange, experiment.cluster.exchange_seconds) == ("gradients", 0.0)
    assert experiment.optimizer.optimizer == "shared-adagrad"


def test_acer_replays_from_all_that_its_16_workers_keep() -> None:
    for name, environment in (("paper/acer-atari", "ALE/Pong-v5"), ("paper/acer-continuous", "Pendulum-v1")):
        experiment = find_preset(name).settings(environment, None)
        algorithm = experiment.algorithm
        assert isinstance(algorithm, ACER)
        assert (experiment.worker_count, experiment.environment_count) == (16, 1)
        memory = algorithm.make_memory(WorkerInfo(describe(experiment), 1, 0, 16))
        assert memory.steps.rows * 16 == algorithm.replay_capacity
        assert not experiment.episode_rollouts


def test_pgq_is_a3c_with_one_minibatch_after_each_rollout() -> None:
    experiment = find_preset("paper/pgq-atari").settings("ALE/Pong-v5", None)
    algorithm = experiment.algorithm
    assert isinstance(algorithm, PGQ)
    assert algorithm.rollout_length * algorithm.replay_ratio == algorithm.batch_size == 32
    assert algorithm.replay_capacity == 100_000 * experiment.worker_count
    a3c = find_preset("paper/atari-57-ff").settings("ALE/Pong-v5", None)
    assert experiment.optimizer == a3c.optimizer
    assert not experiment.episode_rollouts


def test_unreal_is_a3c_with_an_lstm_that_sees_its_last_action_and_reward() -> None:
    experiment = find_preset("paper/unreal").settings("ALE/Pong-v5", None)
    algorithm = experiment.algorithm
    assert isinstance(algorithm, Unreal)
    assert set(algorithm.tasks) == {"pixel_control", "reward_prediction", "value_replay"}
    assert algorithm.auxiliary_steps == 2_000
    assert experiment.network.memory == "lstm"
    assert experiment.network.last_action_reward
    assert (experiment.worker_count, experiment.environment_count) == (32, 1)
    assert not experiment.episode_rollouts


@pytest.mark.parametrize(("name", "environment"), [("atari", "ALE/Pong-v5"), ("minatar", "MinAtar/Breakout-v1")])
def test_pqn_learns_minibatches_of_128_steps_twice(name: str, environment: str) -> None:
    experiment = find_preset(f"paper/pqn-{name}").settings(environment, None)
    algorithm = experiment.algorithm
    assert isinstance(algorithm, PQN)
    assert experiment.worker_count == 1
    assert algorithm.rollout_length * experiment.environment_count // algorithm.minibatches == 128
    assert algorithm.exploration_steps * 10 == experiment.steps
    assert experiment.network.layer_norm
    describe(experiment)


def test_pqn_plays_atari_as_envpool_does() -> None:
    experiment = find_preset("paper/pqn-atari").settings("ALE/Breakout-v5", None)
    arguments = atari.settings(find_spec("ALE/Breakout-v5"), experiment.environment_options)
    assert (arguments["repeat_action_probability"], arguments["noop_max"]) == (0.0, 30)
    assert arguments["use_fire_reset"]
    assert experiment.zero_discount_on_life_loss
    other = find_preset("paper/pqn-atari").settings("MinAtar/Breakout-v1", None)
    assert not other.zero_discount_on_life_loss
    describe(other)


def test_nfq_fits_once_after_each_episode_and_acts_greedily() -> None:
    experiment = find_preset("paper/nfq").settings("CartPole-v1", None)
    algorithm = experiment.algorithm
    assert isinstance(algorithm, NFQ)
    assert not algorithm.explores
    assert experiment.episode_rollouts
    assert (experiment.worker_count, experiment.environment_count, algorithm.iterations) == (1, 1, 1)
    assert algorithm.replay_capacity >= experiment.steps
    describe(experiment)


def test_other_environments_need_no_lives() -> None:
    experiment = find_preset("paper/atari-57-ff").settings("MinAtar/Breakout-v1", None)
    assert not experiment.zero_discount_on_life_loss
    describe(experiment)


def test_the_tuned_atari_preset_starts_games_with_fire_as_it_was_measured() -> None:
    experiment = find_preset("tuned/atari").settings("ALE/Breakout-v5", None)
    assert atari.settings(find_spec("ALE/Breakout-v5"), experiment.environment_options)["use_fire_reset"]
    assert not experiment.zero_discount_on_life_loss


@pytest.mark.parametrize(
    ("name", "steps"),
    [("paper/atari-57-ff", 80_000_000), ("paper/atari-57-lstm", 250_000_000), ("paper/atari-study-ff", 80_000_000)],
)
def test_runs_are_as_long_as_the_published_ones(name: str, steps: int) -> None:
    assert find_preset(name).settings("ALE/Pong-v5", None).steps == steps


@pytest.mark.parametrize(
    "name",
    [
        *A3CS,
        "paper/mujoco-state",
        "paper/mujoco-pixels",
        "paper/acer-atari",
        "paper/acer-continuous",
        "paper/pgq-atari",
        "paper/pqn-atari",
        "paper/unreal",
    ],
)
def test_deviations_begin_a_line(name: str) -> None:
    lines = (find_preset(name).make.__doc__ or "").splitlines()
    assert any(line.strip().startswith("Deviation: ") for line in lines)
