"""Normalised rewards: against their formula, over several workers, and without a trace in reported returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tests.environments  # noqa: F401  (registers test/Clock-v0)
from asyncrl.agent import load
from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.functional.returns import running_returns
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import load_newest
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.worker import Worker, WorkerSetup
from asyncrl.serve.latest import LatestAgent
from asyncrl.types import Rollout
from tests.experiments import small

LENGTH, DISCOUNT = 7, 0.9


def experiment(**settings: Any) -> Experiment:
    return small(
        "test/Clock-v0",
        **{
            "environment_options": {"length": LENGTH, "truncate": False},
            "normalize_rewards": True,
            "discount": DISCOUNT,
            "envs_per_worker": 1,
            **settings,
        },
    )


def workers_of(experiment: Experiment, folder: Path) -> tuple[Supervisor, list[Worker]]:
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(folder))
    setups = [
        WorkerSetup(number, experiment, supervisor.info, supervisor.shared, folder)
        for number in range(experiment.worker_count)
    ]
    return supervisor, [Worker(setup) for setup in setups]


def learned_rewards(worker: Worker) -> Tensor:
    """The rewards that a worker learns from in its next turn, without those of dummy steps."""
    add, seen = worker.memory.add, []

    def look(rollout: Rollout) -> None:
        seen.append(rollout.rewards[rollout.valid].clone())
        add(rollout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.memory, "add", look)
        worker.turn()
    return seen[0]


def episode_returns(rewards: list[float]) -> list[float]:
    """Σ_k γ^(t-k) r_k over the episode so far, written out."""
    return [sum(DISCOUNT ** (t - k) * rewards[k] for k in range(t + 1)) for t in range(len(rewards))]


def test_running_returns_are_the_discounted_sums_of_each_episode() -> None:
    rewards = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(9, 2, dtype=torch.bool)
    valid[4, 1] = False  # the second environment's episode ended with step 3
    found = running_returns(rewards, valid, torch.zeros(2), DISCOUNT)
    joined = torch.cat([found[:5, 0], found[5:, 0]])
    assert joined.tolist() == pytest.approx(episode_returns(rewards[:, 0].tolist()), rel=1e-5)
    assert found[:4, 1].tolist() == pytest.approx(episode_returns(rewards[:4, 1].tolist()), rel=1e-5)
    assert found[4, 1] == 0
    assert found[5:, 1].tolist() == pytest.approx(episode_returns(rewards[5:, 1].tolist()), rel=1e-5)
    parts = running_returns(rewards[:3], valid[:3], torch.zeros(2), DISCOUNT)
    torch.testing.assert_close(running_returns(rewards[3:], valid[3:], parts[-1], DISCOUNT), found[3:])


def test_each_reward_is_divided_by_the_deviation_of_all_returns_until_then(tmp_path: Path) -> None:
    # rollouts of one step, so that the statistics are new at each step, as in Stable-Baselines3's VecNormalize
    _, (worker,) = workers_of(experiment(rollout_length=1, steps=200), tmp_path)
    found = torch.cat([learned_rewards(worker) for _ in range(100)]).tolist()
    rewards = [1.0 + step % LENGTH for step in range(len(found))]
    returns = [value for _ in range(len(found)) for value in episode_returns(rewards[:LENGTH])]
    expected = [min(10, reward / np.sqrt(np.var(returns[: t + 1]) + 1e-8)) for t, reward in enumerate(rewards)]
    assert found == pytest.approx(expected, rel=1e-4)


def test_all_workers_share_the_deviation_and_returns_stay_raw(tmp_path: Path) -> None:
    settings = experiment(workers=2, rollout_length=LENGTH + 1, steps=10_000)
    supervisor, workers = workers_of(settings, tmp_path)
    seen: list[float] = []
    returns = episode_returns(list(range(1, LENGTH + 1)))
    for worker in (workers[0], workers[0], workers[1]):
        seen += returns  # of one episode and its dummy step
        expected = np.arange(1, LENGTH + 1) / np.std(seen)
        np.testing.assert_allclose(learned_rewards(worker).numpy(), expected, rtol=1e-4)
    assert supervisor.shared.return_moments is not None
    combined = supervisor.shared.return_moments.combined
    assert (int(combined.count), float(combined.variance)) == (len(seen), pytest.approx(np.var(seen), rel=1e-4))
    episodes = workers[1].turn().episodes
    assert [episode.total_reward for episode in episodes] == [sum(range(1, LENGTH + 1))]


def test_rewards_are_clipped_before_and_after(tmp_path: Path) -> None:
    settings = experiment(rollout_length=LENGTH + 1, reward_clip=2.0, steps=10_000)
    _, (worker,) = workers_of(settings, tmp_path)
    clipped = [1.0] + [2.0] * (LENGTH - 1)
    np.testing.assert_allclose(
        learned_rewards(worker).numpy(), np.array(clipped) / np.std(episode_returns(clipped)), rtol=1e-4
    )
    _, (worker,) = workers_of(experiment(rollout_length=1, steps=10_000), tmp_path / "early")
    first = learned_rewards(worker)  # a single return has no deviation
    assert first.tolist() == [10.0]


def test_checkpoints_hold_the_statistics(tmp_path: Path) -> None:
    supervisor = Supervisor(
        small("test/Clock-v0", normalize_rewards=True), describe(small("test/Clock-v0")), RunFolder(tmp_path)
    )
    supervisor.run([])
    checkpoint, _ = load_newest(tmp_path / "checkpoints")
    slots = checkpoint.tensors["return_moments"]
    assert float(slots[:, 0].sum()) == checkpoint.state.steps


@pytest.mark.parametrize("clip", [None, 2.0])
def test_an_agent_knows_what_it_learned_from(tmp_path: Path, clip: float | None) -> None:
    folder = RunFolder(tmp_path)
    settings = experiment(reward_clip=clip, eval_every=200, eval_episodes=2)
    folder.write_experiment(settings)
    supervisor = Supervisor(settings, describe(settings), folder)
    supervisor.run([])
    assert supervisor.shared.return_moments is not None
    variance = supervisor.shared.return_moments.combined.variance.squeeze()
    rewards = torch.tensor([-500.0, -1.0, 3.0, 1000.0])
    normalised = (rewards if clip is None else rewards.clamp(-clip, clip)) / variance.sqrt()
    rule = load(tmp_path).reward_rule
    torch.testing.assert_close(rule.apply(rewards), normalised.clamp(-10, 10).float())
    latest = LatestAgent(folder)
    latest.refresh()
    assert latest.agent.reward_rule == rule  # the live page divides values by its scale
    best = load(tmp_path, checkpoint="best")
    assert best.return_deviation == pytest.approx(float(variance.sqrt()), rel=0.2) != 1.0


def test_a_scale_beside_normalised_rewards_is_refused() -> None:
    with pytest.raises(UserError, match=r"takes the place of --reward-scale 0\.1: add --reward-scale 1"):
        experiment(reward_scale=0.1)
