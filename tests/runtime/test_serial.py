"""The serial runtime: repeatable to the bit, resumable, and the same worker as in processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import load_newest
from asyncrl.runtime.supervisor import Outcome, Supervisor
from tests.experiments import small


class Recorder:
    """A sink that keeps every line."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, metrics: dict[str, Any]) -> None:
        self.lines.append(metrics)

    def close(self) -> None:
        pass


def run(folder: Path, resume: bool = False, **settings: Any) -> tuple[Outcome, Supervisor, Recorder]:
    experiment = small(**settings)
    info = describe(experiment.environment, experiment.environment_options)
    checkpoint = load_newest(folder / "checkpoints")[0] if resume else None
    folder.mkdir(exist_ok=True)
    supervisor = Supervisor(experiment, info, RunFolder(folder), checkpoint)
    recorder = Recorder()
    return supervisor.run([recorder]), supervisor, recorder


@pytest.mark.parametrize("memory", ["none", "lstm"])
@pytest.mark.parametrize("optimizer", ["shared-rmsprop", "shared-adam"])
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
    info = describe("Catch-v0", {})
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


def test_the_papers_form_one_environment_and_rollouts_that_end_with_episodes(tmp_path: Path) -> None:
    outcome, supervisor, _ = run(tmp_path / "run", envs_per_worker=1, episode_rollouts=True, rollout_length=5)
    # an episode of Catch has 9 steps: rollouts of 5 and 4, and no step is a dummy
    assert outcome.summary["updates"] == pytest.approx(outcome.summary["steps"] / 4.5, rel=0.02)
    assert np.isfinite(supervisor.shared.parameters.tensor.numpy()).all()


def test_a_crash_in_the_environment_names_the_worker_and_saves(tmp_path: Path) -> None:
    outcome, _, _ = run(tmp_path / "run", environment="tests.environments:test/Crash-v0")
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert "worker 0 failed" in outcome.error
    assert "ZeroDivisionError: the simulator broke" in outcome.error
    assert load_newest(tmp_path / "run" / "checkpoints")[0].state["steps"] > 0


def test_atari_takes_every_workers_seed(tmp_path: Path) -> None:
    # the emulator refuses seeds of 32 bits, and half of what a SeedSequence gives has 32
    outcome, _, _ = run(tmp_path / "run", environment="ALE/Pong-v5", workers=4, envs_per_worker=1, steps=20)
    assert outcome.error == ""
    assert outcome.summary["frames"] == 4 * outcome.summary["steps"]
