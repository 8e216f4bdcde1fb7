"""A serial run that was stopped and resumed equals an uninterrupted run to the last bit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import Checkpoint, load_newest
from asyncrl.runtime.supervisor import Supervisor
from tests.experiments import small
from tests.replay_q import UniformReplay
from tests.runtime.processes import Run, Start, summary

pytestmark = pytest.mark.timeout(300)


class Stop:
    """A sink that stops the run at the first line of metrics after a step, as Ctrl-C does."""

    name = "the stop"

    def __init__(self, steps: int) -> None:
        self.steps, self.is_sent = steps, False

    def write(self, metrics: dict[str, Any]) -> None:
        if metrics["steps"] >= self.steps and not self.is_sent:
            self.is_sent = True
            os.kill(os.getpid(), signal.SIGINT)

    def close(self) -> None:
        pass


def train(folder: Path, stop_at: int | None = None, **settings: Any) -> Checkpoint:
    """Trains, resuming if the folder has a checkpoint, and returns the last checkpoint."""
    experiment = small(**settings)
    folder.mkdir(exist_ok=True)
    run = RunFolder(folder)
    checkpoint = load_newest(run.checkpoints)[0] if run.checkpoints.exists() else None
    supervisor = Supervisor(experiment, describe(experiment), run, checkpoint, notes.append)
    outcome = supervisor.run([] if stop_at is None else [Stop(stop_at)])
    assert outcome.status == ("done" if stop_at is None else "stopped"), outcome.error
    return load_newest(run.checkpoints)[0]


notes: list[str] = []


def assert_equal(one: Checkpoint, other: Checkpoint) -> None:
    """Compares tensors and counts; the wall-clock time and the number of sessions may differ."""
    assert set(one.tensors) == set(other.tensors)
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name
    for state in ("steps", "updates", "target_refreshed_at", "workers"):
        assert getattr(one.state, state) == getattr(other.state, state), state
    for state in ("episodes", "best_return_mean", "recent_episodes"):
        assert getattr(one.state.telemetry, state) == getattr(other.state.telemetry, state), state


CASES: dict[str, dict[str, Any]] = {
    "a3c": {},
    "lstm": {"memory": "lstm"},
    "rmsprop of each worker": {"optimizer": "rmsprop"},
    "n-step q, gru": {"algorithm": "nstep-q", "memory": "gru", "target_interval": 300},
    "random actions that last": {"algorithm": "nstep-q", "target_interval": 300, "exploration_persistence": 0.8},
    "1-step q": {"algorithm": "onestep-q", "target_interval": 300},
    "sarsa looks ahead": {"algorithm": "sarsa", "memory": "lstm", "target_interval": 300},
    "cartpole, normalised": {"environment": "CartPole-v1", "normalize_observations": True},
    "normalised rewards": {"environment": "CartPole-v1", "normalize_rewards": True, "reward_scale": 1.0},
    "exploration bonus": {"environment": "CartPole-v1", "exploration_bonus": "hash", "hash_bits": 16},
    "continuous actions, correlated noise": {"environment": "Pendulum-v1", "exploration_persistence": 0.7},
    "dictionaries": {"environment": "test/Rooms-v0", "last_action_reward": True, "memory": "gru"},
    "action masks": {"environment": "test/Menu-v0", "algorithm": "nstep-q", "target_interval": 300},
    "replay": {"algorithm": "tests.replay_q:ReplayQ", "replay_start": 100, "target_interval": 300},
    "prioritized sequences": {
        "algorithm": "dqn",
        "memory": "gru",
        "prioritized": "rank",
        "double": True,
        "replay_start": 300,
        "replay_capacity": 1000,
        "replay_ratio": 2.0,
        "batch_size": 4,
        "sequence_length": 5,
        "burn_in": 5,
        "target_interval": 300,
        "save_replay": True,
    },
    "trajectories": {
        "algorithm": "acer",
        "memory": "lstm",
        "replay_start": 300,
        "save_replay": True,
        "steps": 1000,
    },
    "trajectories of continuous actions": {
        "environment": "Pendulum-v1",
        "algorithm": "acer",
        "replay_start": 300,
        "save_replay": True,
        "steps": 1000,
    },
    "rollouts and replayed steps": {"algorithm": "pgq", "replay_start": 300, "save_replay": True, "steps": 1000},
    "rollouts and replayed sequences": {
        "algorithm": "pgq",
        "memory": "lstm",
        "replay_start": 300,
        "replay_capacity": 1000,
        "batch_size": 2,
        "save_replay": True,
        "steps": 1500,
    },
    "repeated rollouts": {"algorithm": "impala"},
    "auxiliary tasks": {"algorithm": "unreal", "auxiliary_steps": 40},
    "auxiliary tasks and sequences": {"algorithm": "unreal", "memory": "lstm", "last_action_reward": True},
    "on policy alone": {"algorithm": "acer", "replay_ratio": 0.0},
    "shuffled rollouts": {"algorithm": "pqn", "optimizer": "shared-radam", "exploration_persistence": 0.5},
    "shuffled sequences": {"algorithm": "pqn", "memory": "lstm", "epochs": 2, "minibatches": 2},
    "fits": {
        "algorithm": "nfq",
        "optimizer": "rprop",
        "separate_actions": True,
        "hint_to_goal": "terminal",
        "epochs": 3,
        "iterations": 2,
        "replay_start": 300,
        "replay_capacity": 800,
        "steps": 1000,
    },
    "the paper's form": {"envs_per_worker": 1, "episode_rollouts": True},
    "atari with sticky actions": {"environment": "ALE/Breakout-v5", "envs_per_worker": 2, "steps": 500},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncrl.runtime.supervisor.METRICS_SECONDS", (0.0, 0.0))  # a line after each turn
    settings = {"workers": 2, "steps": 3000, **settings}
    whole = train(tmp_path / "whole", **settings)
    notes.clear()
    for part in (1, 2):  # stopped twice
        stopped = train(tmp_path / "parts", stop_at=part * settings["steps"] // 3, **settings)
        assert stopped.state.steps < settings["steps"]
    assert_equal(whole, train(tmp_path / "parts", **settings))
    assert notes == []


class ForgetfulReplay:
    """A replay memory that cannot be saved."""

    def __init__(self, *settings: Any) -> None:
        memory = UniformReplay(*settings)
        self.add, self.draw, self.learned = memory.add, memory.draw, memory.learned


def test_a_memory_that_cannot_be_saved_begins_empty_and_the_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncrl.runtime.supervisor.METRICS_SECONDS", (0.0, 0.0))  # a line after each turn
    monkeypatch.setattr("tests.replay_q.UniformReplay", ForgetfulReplay)
    settings = {"algorithm": "tests.replay_q:ReplayQ", "workers": 2, "steps": 2000, "replay_start": 100}
    train(tmp_path / "run", stop_at=1000, **settings)
    notes.clear()
    train(tmp_path / "run", **settings)
    assert notes == ["warning: the algorithm's memory was not saved: it begins empty"]


def test_environments_that_do_not_repeat_themselves_begin_new_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncrl.runtime.supervisor.METRICS_SECONDS", (0.0, 0.0))
    settings: dict[str, Any] = {"environment": "test/Moody-v0", "steps": 2000}
    train(tmp_path / "run", stop_at=500, **settings)
    notes.clear()
    assert train(tmp_path / "run", **settings).state.steps >= 2000
    assert [note.split(" (")[0] for note in notes] == ["warning: the environments cannot repeat their episodes"]


def test_a_run_can_be_resumed_with_another_number_of_workers_or_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncrl.runtime.supervisor.METRICS_SECONDS", (0.0, 0.0))
    train(tmp_path / "run", stop_at=500, steps=2000, workers=2)
    assert train(tmp_path / "run", steps=2000, workers=3).state.steps >= 2000
    train(tmp_path / "other", stop_at=500, steps=2000, envs_per_worker=4)
    notes.clear()
    assert train(tmp_path / "other", steps=2000, envs_per_worker=3).state.steps >= 2000
    assert len(notes) == 1


def test_a_run_that_was_killed_and_resumed_equals_the_uninterrupted_one(start: Start, run: Run, tmp_path: Path) -> None:
    command = [
        *("train", "Catch", "--runtime", "serial", "--workers", "2"),
        *("--steps", "150k", "--until-return", "None", "--checkpoint-seconds", "0.2"),
    ]
    assert run(*command, "--run-dir", "whole")[0] == 0
    folder = tmp_path / "parts" / "checkpoints"
    for resume in ((), ("--resume",)):
        seen = {path.name for path in folder.glob("step-*")}
        process = start(*command, "--run-dir", "parts", *resume)
        while not {path.name for path in folder.glob("step-*")} - seen:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert run(*command, "--run-dir", "parts", "--resume")[0] == 0
    whole, parts = (load_newest(tmp_path / name / "checkpoints")[0] for name in ("whole", "parts"))
    assert parts.state.sessions == 3
    assert_equal(whole, parts)
    assert summary(tmp_path / "whole")["episodes"] == summary(tmp_path / "parts")["episodes"]
