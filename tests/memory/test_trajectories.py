"""Replayed trajectories are what was acted, come as often as asked for, and never hold what was overwritten."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, Space

from asyncrl.algorithms.acer import ACER
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.memory.recent_steps import RecentSteps
from asyncrl.memory.trajectories import SavedTrajectoryMemory, Trajectories, TrajectoryMemory
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.types import EnvironmentInfo, Progress, Rollout, WorkerInfo
from tests.experiments import small
from tests.memory.test_replay import VECTOR, B, played

T, A = 4, 7
SMALL: dict[str, Any] = {"rollout_length": T, "replay_capacity": 12 * T * B, "replay_start": 1, "replay_ratio": 3.0}


def acted(count: int, state: bool = False) -> list[Rollout]:
    """Rollouts whose behaviour policy at step t has the number t as its first logit."""
    rollouts = []
    for number, rollout in enumerate(played(count, T, state)):
        logits = torch.zeros(T, B, A)
        logits[..., 0] = torch.arange(number * T, (number + 1) * T)[:, None]
        rollouts.append(dataclasses.replace(rollout, behaviour={"policy": logits}))
    return rollouts


def worker(actions: Space[Any] | None = None) -> WorkerInfo:
    return WorkerInfo(EnvironmentInfo("x", VECTOR, actions or Discrete(A), 1), B, 0, 1)


def memory(**settings: Any) -> TrajectoryMemory:
    return ACER(**{**SMALL, **settings}).make_memory(worker())


def drawn(made: TrajectoryMemory, random: torch.Generator) -> Iterator[Trajectories]:
    yield from made.draw(None, random, Progress(0, 1000))  # type: ignore[arg-type]


def test_the_newest_rollout_comes_first_and_trajectories_are_as_they_were_acted() -> None:
    made, rollouts, random = memory(), acted(40, state=True), torch.Generator().manual_seed(0)
    names = ("rewards", "discounts", "valid", "first", "actions")
    whole = {name: torch.cat([getattr(each, name)[:T] for each in rollouts]) for name in names}
    seen: set[tuple[int, int]] = set()
    for count, rollout in enumerate(rollouts, 1):
        made.add(rollout)
        newest, *replayed = drawn(made, random)
        assert newest.rollout is rollout
        assert count > 1 or not replayed
        for each in replayed:
            batch = each.rollout
            for item in range(B):
                numbers = batch.observations["vector"][:, item, 0].long()
                t, b = divmod(int(numbers[0]), 100)
                seen.add((t, b))
                assert t % T == 0
                assert T * (count - 12) <= t < T * (count - 1)  # not overwritten, and not the newest one
                assert numbers.tolist() == [100 * row + b for row in range(t, t + T + 1)]
                assert float(batch.state[0][item, 0]) == t
                assert batch.behaviour["policy"][:, item, 0].tolist() == list(range(t, t + T))
                for name, rows in whole.items():
                    assert torch.equal(getattr(batch, name)[:T, item], rows[t : t + T, b]), name
    assert {b for _, b in seen} == set(range(B))
    assert len({t for t, _ in seen}) > 30


def test_the_replay_ratio_is_the_mean_of_a_poisson_distribution() -> None:
    made, random = memory(replay_ratio=2.5), torch.Generator().manual_seed(0)
    rollouts = acted(2)
    for rollout in rollouts:
        made.add(rollout)
    counts = []
    for _ in range(2000):
        made.newest = rollouts[-1]
        counts.append(len(list(drawn(made, random))) - 1)
    assert np.mean(counts) == pytest.approx(2.5, abs=0.12)
    assert np.var(counts) == pytest.approx(2.5, abs=0.3)


def test_nothing_is_replayed_before_the_start_or_with_a_ratio_of_0() -> None:
    late, never, random = memory(replay_start=60), memory(replay_ratio=0.0), torch.Generator().manual_seed(0)
    collected = 0
    for rollout in acted(12):
        late.add(rollout)
        never.add(rollout)
        collected += rollout.steps
        replayed = len(list(drawn(late, random))) - 1
        assert collected >= 60 or replayed == 0
        assert len(list(drawn(never, random))) == 1
    assert collected >= 60
    assert never.steps.arrays() == {}


def test_noise_comes_with_continuous_actions() -> None:
    algorithm = ACER(**SMALL, dueling_samples=3)
    made = algorithm.make_memory(worker(Box(-1, 1, (2,), np.float32)))
    rollout = dataclasses.replace(acted(1)[0], actions=torch.zeros(T, B, 2))
    made.add(rollout)
    (item,) = drawn(made, torch.Generator().manual_seed(0))
    assert item.noise.shape == (4, T, B, 2)  # three for the mean advantage, one for the bias correction
    assert float(item.noise.std()) == pytest.approx(1, abs=0.3)


def test_a_saved_memory_goes_on_alike(tmp_path: Path) -> None:
    rollouts = acted(20, state=True)
    made, other = memory(save_replay=True, replay_ratio=8.0), memory(save_replay=True, replay_ratio=8.0)
    for rollout in rollouts[:17]:
        made.add(rollout)
    assert isinstance(made, SavedTrajectoryMemory)
    assert isinstance(other, SavedTrajectoryMemory)
    made.save(tmp_path / "memory")
    other.load(tmp_path / "memory")
    for each in (made, other):
        each.add(rollouts[17])
    one, same = (list(drawn(each, torch.Generator().manual_seed(3))) for each in (made, other))
    assert len(one) == len(same) > 2
    for each, twin in zip(one, same, strict=True):
        assert torch.equal(each.rollout.observations["vector"], twin.rollout.observations["vector"])
        assert torch.equal(each.rollout.behaviour["policy"], twin.rollout.behaviour["policy"])


def test_the_room_that_is_checked_is_the_room_that_is_taken() -> None:
    made = memory(replay_capacity=1200 * T * B)
    made.add(acted(1)[0])
    taken = sum(array.nbytes for array in made.steps.arrays().values())
    assert ACER(**{**SMALL, "replay_capacity": 1200 * T * B}).memory_bytes(worker()) == pytest.approx(taken, rel=0.01)
    assert ACER(**{**SMALL, "replay_ratio": 0.0}).memory_bytes(worker()) == 0


def test_a_capacity_without_room_for_a_trajectory_is_refused() -> None:
    with pytest.raises(UserError, match=f"give at least {2 * T * B}"):
        memory(replay_capacity=2 * T * B - 1)
    made = memory(replay_capacity=2 * T * B)
    for rollout in acted(3):
        made.add(rollout)
    assert made.steps.rows == 2 * T


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"replay_capacity": 100, "replay_start": 200}, "--replay-start 200 never comes"),
        ({"replay_ratio": -1.0}, "--replay-ratio must be 0 or more"),
        ({"truncation": 0.0}, "--truncation must be positive"),
        ({"average_decay": 1.0}, "--average-decay must lie in"),
        ({"trust_region_limit": -0.1}, "--trust-region-limit must not be negative"),
        ({"dueling_samples": 0}, "--dueling-samples must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ACER(**settings)


def test_rollouts_that_end_with_their_episodes_are_refused() -> None:
    rollout = acted(1)[0]
    short = dataclasses.replace(rollout, actions=rollout.actions[:-1])
    with pytest.raises(UserError, match="--episode-rollouts"):
        memory().add(short)


def test_several_discrete_actions_at_once_are_refused(tmp_path: Path) -> None:
    experiment = small("tests.environments:test/Levers-v0", "acer")
    with pytest.raises(UserError, match=r"acer needs Discrete or Box actions, not MultiDiscrete.*: take --algor"):
        Supervisor(experiment, describe(experiment), RunFolder(tmp_path))


def test_trajectories_that_were_kept_on_disk_are_replayed_again(tmp_path: Path) -> None:
    made, rollouts = memory(save_replay=True, replay_ratio=8.0), acted(20, state=True)
    assert isinstance(made, SavedTrajectoryMemory)
    copy = made.on_disk(tmp_path)
    for rollout in rollouts[:17]:
        made.add(rollout)
        copy.grow()
    copy.save()
    other = memory(save_replay=True, replay_ratio=8.0)
    assert isinstance(other, SavedTrajectoryMemory)
    other.on_disk(tmp_path).load(lambda: None)
    made.steps.end_episodes()
    rollouts[17].first[0] = True  # environments begin new episodes
    for each in (made, other):
        each.add(rollouts[17])
    one, same = (list(drawn(each, torch.Generator().manual_seed(3))) for each in (made, other))
    assert len(one) == len(same) > 2
    for each, twin in zip(one, same, strict=True):
        assert torch.equal(each.rollout.observations["vector"], twin.rollout.observations["vector"])
        assert torch.equal(each.rollout.behaviour["policy"], twin.rollout.behaviour["policy"])
        assert torch.equal(each.rollout.valid, twin.rollout.valid)
        assert torch.equal(each.rollout.state[0], twin.rollout.state[0])
    assert not made.steps.valid[(17 * T - 1) % made.steps.rows].any()


def test_the_ring_keeps_behaviour_of_the_rows_that_it_has() -> None:
    steps = RecentSteps(2 * T, B, T, worker().environment)
    for rollout in acted(3):
        steps.append(rollout)
    found = steps.sequences(np.array([T, T]), np.array([0, 1]), T - 1)
    assert found.behaviour["policy"][:, 0, 0].tolist() == [4.0, 5.0, 6.0]
