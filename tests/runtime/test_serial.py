"""The serial runtime: repeatable to the bit, resumable, and the same worker as in processes."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asyncrl.agent import load
from asyncrl.envs.make import describe, make_environments
from asyncrl.errors import RunError, UserError
from asyncrl.optim.hogwild import OPTIMIZERS
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import load_newest
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.guard import UpdateGuard
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.runtime.serial import SerialWorkers
from asyncrl.runtime.supervisor import Outcome, Supervisor
from asyncrl.runtime.worker import Worker, WorkerSetup
from asyncrl.training import record_video
from asyncrl.types import Decision, Loss, Rollout
from tests.experiments import small


class Recorder:
    """A sink that keeps every line."""

    name = "the recorder"

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, metrics: dict[str, Any]) -> None:
        self.lines.append(metrics)

    def close(self) -> None:
        pass


def run(folder: Path, resume: bool = False, **settings: Any) -> tuple[Outcome, Supervisor, Recorder]:
    experiment = small(**settings)
    info = describe(experiment)
    checkpoint = load_newest(folder / "checkpoints")[0] if resume else None
    folder.mkdir(exist_ok=True)
    supervisor = Supervisor(experiment, info, RunFolder(folder), checkpoint, record_video=record_video)
    recorder = Recorder()
    return supervisor.run([recorder]), supervisor, recorder


@pytest.mark.parametrize("memory", ["none", "lstm"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_runs_are_equal_to_the_bit(tmp_path: Path, memory: str, optimizer: str) -> None:
    parameters = []
    for name in ("one", "two"):
        _, supervisor, _ = run(tmp_path / name, workers=2, memory=memory, optimizer=optimizer)
        parameters.append(supervisor.shared.parameters.tensor.clone())
    assert torch.equal(*parameters)
    _, other, _ = run(tmp_path / "three", workers=2, memory=memory, optimizer=optimizer, seed=9)
    assert not torch.equal(parameters[0], other.shared.parameters.tensor)


def test_metrics_have_what_scripts_rely_on(tmp_path: Path) -> None:
    outcome, _, recorder = run(tmp_path / "run")
    assert (outcome.status, outcome.exit_code) == ("done", 0)
    needed = {"wall_seconds", "steps", "frames", "updates", "episodes", "return_mean", "steps_per_second"}
    assert needed | {"learning_rate"} <= set(recorder.lines[-1])
    assert 400 <= recorder.lines[-1]["steps"] < 400 + 4 * 5
    assert recorder.lines[-1]["updates"] * 5 * 4 >= recorder.lines[-1]["steps"]
    extra = {"status", "environment", "algorithm", "seed", "workers", "envs_per_worker", "best_return_mean"}
    assert extra <= set(outcome.summary)


def test_the_learning_rate_falls_to_zero(tmp_path: Path) -> None:
    _, supervisor, recorder = run(tmp_path / "run")
    assert recorder.lines[-1]["learning_rate"] == 0.0
    _, _, constant = run(tmp_path / "constant", schedule="constant")
    assert constant.lines[-1]["learning_rate"] == supervisor.experiment.optimizer.learning_rate


def test_resuming_goes_on_with_counts_parameters_and_statistics(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before, first, _ = run(folder, schedule="constant")
    saved, _ = load_newest(folder / "checkpoints")
    assert torch.equal(saved.tensors["optimizer/square_average"], first.shared.statistics["square_average"].tensor)
    info = describe(small())
    second = Supervisor(small(steps=800, schedule="constant"), info, RunFolder(folder), saved)
    assert torch.equal(second.shared.parameters.tensor, first.shared.parameters.tensor)
    assert second.shared.counter.steps == before.summary["steps"]
    recorder = Recorder()
    after = second.run([recorder])
    assert after.summary["steps"] >= 800
    assert after.summary["episodes"] > before.summary["episodes"]
    assert after.summary["wall_seconds"] > before.summary["wall_seconds"]


def test_a_checkpoint_of_another_environment_or_network_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder)
    with pytest.raises(UserError, match="trained on Catch-v0, not on CartPole-v1"):
        run(folder, resume=True, environment="CartPole-v1")
    with pytest.raises(UserError, match="do not fit"):
        run(folder, resume=True, hidden=(17,))
    adam, rmsprop = tmp_path / "adam", tmp_path / "rmsprop"
    run(rmsprop, optimizer="shared-rmsprop")
    with pytest.raises(UserError, match="--optimizer shared-rmsprop: resume with it"):
        run(rmsprop, resume=True, optimizer="shared-adam")
    run(adam, optimizer="shared-adam")
    with pytest.raises(UserError, match="--optimizer shared-adam: resume with it"):
        run(adam, resume=True, optimizer="shared-rmsprop")


def test_a_goal_ends_the_run_early(tmp_path: Path) -> None:
    outcome, _, _ = run(tmp_path / "run", until_return=-1.0, steps=100_000)
    assert (outcome.status, outcome.summary["ended_by"]) == ("done", "goal")
    assert outcome.summary["steps"] < 20_000


def test_time_ends_the_run_early(tmp_path: Path) -> None:
    outcome, _, _ = run(tmp_path / "run", until_seconds=0.5, steps=100_000_000)
    assert (outcome.status, outcome.summary["ended_by"]) == ("done", "time")
    assert 0.5 <= outcome.summary["wall_seconds"] < 60  # its steps would take hours
    supervisor = Supervisor(
        small(until_seconds=0.5, steps=100_000_000),
        describe(small()),
        RunFolder(tmp_path / "run"),
        load_newest(tmp_path / "run" / "checkpoints")[0],
    )
    assert supervisor.reason_to_end == "its 0.5 seconds are over"


def test_no_two_workers_sessions_or_attempts_have_the_same_seed(tmp_path: Path) -> None:
    supervisor = Supervisor(small(), describe(small()), RunFolder(tmp_path))
    setup = supervisor.pool.setup(0)
    seeds = [
        tuple(dataclasses.replace(setup, number=number, session=session, attempt=attempt).seed.generate_state(2))
        for number in range(3)
        for session in (1, 2, 3)
        for attempt in range(3)
    ]
    assert len(set(seeds)) == len(seeds)


def test_the_papers_form_one_environment_and_rollouts_that_end_with_episodes(tmp_path: Path) -> None:
    outcome, supervisor, _ = run(tmp_path / "run", envs_per_worker=1, episode_rollouts=True, rollout_length=5)
    # an episode of Catch has 9 steps: rollouts of 5 and 4, and no step is a dummy
    assert outcome.summary["updates"] == pytest.approx(outcome.summary["steps"] / 4.5, rel=0.02)
    assert np.isfinite(supervisor.shared.parameters.tensor.numpy()).all()


def test_a_crash_in_the_environment_names_the_worker_and_saves(tmp_path: Path) -> None:
    outcome, _, _ = run(tmp_path / "run", environment="tests.environments:test/Crash-v0", restarts=1, steps=10_000)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert "no worker is left: worker 0 failed with ZeroDivisionError: the simulator broke" in outcome.error
    assert "environments.py" in outcome.error  # the traceback
    assert outcome.summary["restarts"] == 1
    assert load_newest(tmp_path / "run" / "checkpoints")[0].state.steps > 0


@pytest.mark.parametrize("episode_rollouts", [False, True])
def test_an_error_of_an_environment_is_not_taken_for_bad_data(tmp_path: Path, episode_rollouts: bool) -> None:
    settings: dict[str, Any] = {"envs_per_worker": 1, "episode_rollouts": episode_rollouts, "restarts": 0}
    outcome, _, _ = run(tmp_path / "run", environment="test/Narrow-v0", **settings)
    assert "no worker is left: worker 0 failed with BrokenPipeError: the simulator hung up" in outcome.error


@pytest.mark.parametrize("episode_rollouts", [False, True])
def test_the_first_observation_of_an_episode_is_looked_at(tmp_path: Path, episode_rollouts: bool) -> None:
    settings: dict[str, Any] = {"envs_per_worker": 1, "episode_rollouts": episode_rollouts}
    options = {"fault": "nan at reset"}
    outcome, _, _ = run(tmp_path / "run", environment="test/Narrow-v0", environment_options=options, **settings)
    assert outcome.exit_code == 2
    assert outcome.error.startswith("test/Narrow-v0, worker 0, environment 0, step 8: its observation has nan")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("number", r"step \d+: its observation 'pair/0' is 2, which is not in Discrete\(3, start=-1\): fix"),
        ("missing", r"step \d+: the observation 'body' must be a dictionary with the keys dial, switches: fix"),
    ],
)
def test_observations_outside_their_space_end_the_run_with_one_line(tmp_path: Path, fault: str, problem: str) -> None:
    settings: dict[str, Any] = {"environment": "test/Mixed-v0", "envs_per_worker": 1}
    outcome, _, _ = run(tmp_path / "run", environment_options={"fault": fault}, **settings)
    assert outcome.exit_code == 2
    assert re.fullmatch(rf"test/Mixed-v0, worker 0, environment 0, {problem}.*", outcome.error)


def test_boolean_observations_are_dumped_too(tmp_path: Path) -> None:
    rollout = Rollout(
        torch.ones(3, 2, 4, dtype=torch.bool),
        torch.zeros(2, 2, dtype=torch.int64),
        *(torch.zeros(2, 2) for _ in range(2)),
        *(torch.ones(count, 2, dtype=torch.bool) for count in (2, 3)),
        (),
    )
    guard = UpdateGuard(4, tmp_path)
    for _ in range(9):
        assert not guard.passes(Loss(torch.tensor(1.0), {}), math.nan, rollout)
    with pytest.raises(RunError, match=r"10 updates in a row.*\n.*not-finite-worker-4.*lower --learning-rate"):
        guard.passes(Loss(torch.tensor(math.inf), {}), 1.0, rollout)
    assert guard.pop() == 10
    guard.in_a_row = 0
    assert guard.passes(Loss(torch.tensor(1.0), {}), 1.0, rollout)


def test_outliers_are_dropped_until_losses_have_grown(tmp_path: Path) -> None:
    guard = UpdateGuard(0, tmp_path, outlier_deviations=3.0)
    sizes = [1.0, 1.2] * 100

    def passes(size: float) -> bool:
        return guard.passes(Loss(torch.tensor(size), {}), 1.0, None)

    assert all(passes(size) for size in sizes)
    assert not any(passes(size) for size in (2.0, -100.0))
    assert passes(1.3)
    assert guard.pop() == 2
    for _ in range(300):  # losses that stay large are none
        passes(50.0)
    assert all(passes(50.0) for _ in range(100))
    assert UpdateGuard(0, tmp_path).passes(Loss(torch.tensor(1e9), {}), 1.0, None)


def test_environments_that_cannot_be_made_again_cost_their_worker_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise UserError("the simulator is not there")

    supervisor = Supervisor(small(), describe(small()), RunFolder(tmp_path))
    monkeypatch.setattr("asyncrl.runtime.worker.make_environments", refuse)
    workers = SerialWorkers()
    for attempt in (0, 1):
        workers.start(dataclasses.replace(supervisor.pool.setup(0), attempt=attempt))
    first, second = workers.poll(0.0)
    assert isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert (first.exit_code, second.exit_code) == (2, None)


def test_atari_takes_every_workers_seed(tmp_path: Path) -> None:
    # the emulator refuses seeds of 32 bits, and half of what a SeedSequence gives has 32
    outcome, _, _ = run(tmp_path / "run", environment="ALE/Pong-v5", workers=4, envs_per_worker=1, steps=20)
    assert outcome.error == ""
    assert outcome.summary["frames"] == 4 * outcome.summary["steps"]


def test_the_target_network_is_refreshed_whenever_the_global_step_passes_a_multiple(tmp_path: Path) -> None:
    experiment = small(algorithm="onestep-q", workers=2, target_interval=100, steps=10_000)
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    shared = supervisor.shared
    assert shared.target is not None
    workers = [Worker(WorkerSetup(number, experiment, supervisor.info, shared, tmp_path)) for number in range(2)]
    before, refreshed_at = shared.target.tensor.clone(), []
    for turn in range(101):
        workers[turn % 2].turn()
        if not torch.equal(before, shared.target.tensor):
            assert torch.equal(shared.target.tensor, shared.parameters.tensor)
            before = shared.target.tensor.clone()
            refreshed_at.append(shared.counter.steps)
    assert [steps // 100 for steps in refreshed_at] == list(range(1, 1 + len(refreshed_at)))
    assert len(refreshed_at) == shared.counter.steps // 100


def test_sarsa_takes_the_action_it_learned_from(tmp_path: Path) -> None:
    experiment = small(algorithm="sarsa", rollout_length=3)
    environments = make_environments(experiment, 2)
    gatherer = Collector(environments, (), RolloutRules(3, 0.9, look_ahead=True), seed=0)
    random = torch.Generator().manual_seed(0)

    def policy(observations: Any, state: Any, first: Any) -> Decision:
        return Decision(torch.randint(3, first.shape, generator=random), state)

    promised = None
    for _ in range(10):
        rollout = gatherer.collect(policy)
        assert rollout.next_actions is not None
        if promised is not None:
            assert torch.equal(rollout.actions[0], promised)
        promised = rollout.next_actions.clone()


@pytest.mark.parametrize("optimizer", ["rmsprop", "momentum-sgd"])
def test_resuming_restores_the_target_network_and_every_workers_statistics(tmp_path: Path, optimizer: str) -> None:
    settings: dict[str, Any] = {"algorithm": "nstep-q", "workers": 2, "optimizer": optimizer, "schedule": "constant"}
    _, first, _ = run(tmp_path / "run", target_interval=300, steps=500, **settings)
    saved, _ = load_newest(tmp_path / "run" / "checkpoints")
    experiment = small(target_interval=300, steps=900, **{**settings, "workers": 3})  # one worker more
    second = Supervisor(experiment, describe(experiment), RunFolder(tmp_path / "run"), saved)
    assert first.shared.target is not None
    assert second.shared.target is not None
    assert torch.equal(second.shared.target.tensor, first.shared.target.tensor)
    assert not torch.equal(second.shared.target.tensor, second.shared.parameters.tensor)
    for name, vector in first.shared.statistics.items():
        assert vector.tensor.any()
        assert torch.equal(second.shared.statistics[name].tensor, vector.tensor)
    assert second.run([]).summary["steps"] >= 900


def test_observations_are_normalised_by_what_all_workers_saw_and_frozen_in_evaluation(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"environment": "test/Clock-v0", "normalize_observations": True, "workers": 2}
    _, supervisor, _ = run(tmp_path / "run", **settings)
    assert supervisor.shared.moments is not None
    moments = supervisor.shared.moments.combined
    # Clock observes [episode, step], steps 0, 1, 2 and the final 3: what is acted on has steps 0 to 3
    assert 0.5 < float(moments.mean[1]) < 2
    assert float(moments.count) >= 400
    supervisor.folder.write_experiment(supervisor.experiment)
    agent = load(tmp_path / "run")
    assert agent.network.normalizer is not None
    torch.testing.assert_close(agent.network.normalizer.mean, moments.mean.float())
    before = agent.network.normalizer.mean.clone()
    agent.evaluate(episodes=3)
    assert torch.equal(agent.network.normalizer.mean, before)
    saved, _ = load_newest(tmp_path / "run" / "checkpoints")
    resumed = Supervisor(small(**settings), supervisor.info, supervisor.folder, saved)
    assert resumed.shared.moments is not None
    torch.testing.assert_close(resumed.shared.moments.combined.squares, moments.squares)


@pytest.mark.parametrize("environment", ["test/Rooms-v0", "test/Levers-v0", "test/Reach-v0"])
@pytest.mark.parametrize("memory", ["none", "gru"])
def test_every_kind_of_space_trains_plays_and_predicts(tmp_path: Path, environment: str, memory: str) -> None:
    outcome, supervisor, _ = run(
        tmp_path / "run", environment=environment, memory=memory, last_action_reward=True, normalize_observations=True
    )
    assert outcome.error == ""
    supervisor.folder.write_experiment(supervisor.experiment)
    agent = load(tmp_path / "run")
    assert agent.evaluate(episodes=3).episodes == 3
    observation = agent.info.given_space.sample()
    action, state = agent.predict(observation)
    assert action in agent.info.action_space
    assert len(state) == (0 if memory == "none" else 1)
    with pytest.raises(ValueError, match="dictionary with the keys"):
        agent.predict(np.zeros(3))


def test_with_a_lock_the_result_is_the_same(tmp_path: Path) -> None:
    _, one, _ = run(tmp_path / "one", workers=2)
    _, two, _ = run(tmp_path / "two", workers=2, lock=True)
    assert torch.equal(one.shared.parameters.tensor, two.shared.parameters.tensor)
