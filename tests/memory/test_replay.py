"""Replay memories give back exactly what was acted on, and targets of n steps as the paper's sums have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Space

from asyncrl.algorithms.dqn import DQN
from asyncrl.config import Experiment
from asyncrl.envs.make import describe, make_environments
from asyncrl.errors import UserError
from asyncrl.memory.replay import Replayed, ReplayMemory
from asyncrl.memory.saved_replay import SavedReplayMemory
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.types import Decision, EnvironmentInfo, Progress, Rollout, WorkerInfo
from tests.experiments import small

B = 2
PROGRESS = Progress(0, 1000)
VECTOR = Dict({"vector": Box(-1, 1, (1,), np.float32), "bytes": Box(0, 255, (2,), np.uint8)})


def played(length: int, rollout_length: int, state: bool = False, seed: int = 0) -> Iterator[Rollout]:
    """Rollouts whose observation is [100 t + b], with random ends of episodes; the recurrent state is the row t."""
    random = np.random.default_rng(seed)
    steps = length * rollout_length
    ends, terminal = random.random((steps + 1, B)) < 0.15, random.random((steps + 1, B)) < 0.5
    valid = np.ones((steps + 1, B), bool)
    for t in range(1, steps + 1):
        valid[t] = ~(ends[t - 1] & valid[t - 1])  # the step after an end is a dummy
    ended = ends & valid
    first = np.ones((steps + 1, B), bool)
    first[1:] = ~valid[:-1]
    rewards = random.normal(size=(steps, B)).astype(np.float32)
    discounts = np.where(ended & terminal, 0, 0.9).astype(np.float32)
    numbers = (100 * np.arange(steps + 1)[:, None] + np.arange(B)).astype(np.float32)[..., None]
    codes = np.stack([numbers[..., 0] // 256, numbers[..., 0] % 256], -1).astype(np.uint8)
    for begin in range(0, steps, rollout_length):
        rows, after = slice(begin, begin + rollout_length), slice(begin, begin + rollout_length + 1)
        yield Rollout(
            observations={"vector": torch.from_numpy(numbers[after]), "bytes": torch.from_numpy(codes[after])},
            actions=torch.from_numpy((numbers[rows, :, 0] % 7).astype(np.int64)),
            rewards=torch.from_numpy(rewards[rows]),
            discounts=torch.from_numpy(discounts[rows]),
            valid=torch.from_numpy(valid[rows]),
            first=torch.from_numpy(first[after]),
            state=(torch.full((B, 3), float(begin)),) if state else (),
        )


def memory(algorithm: DQN, space: Space[Any] = VECTOR, stack: int = 1) -> ReplayMemory:
    info = EnvironmentInfo("x", space, Discrete(7), 1, stack)
    return algorithm.make_memory(WorkerInfo(info, B, 0, 1))


def items(made: ReplayMemory, number: int = 40) -> Iterator[Replayed]:
    made.owed = float("inf")
    drawn = made.draw(None, torch.Generator().manual_seed(0), PROGRESS)  # type: ignore[arg-type]
    for _ in range(number):
        yield next(drawn)


@pytest.mark.parametrize("recurrent", [False, True])
def test_rollouts_that_end_with_their_episodes_are_refused(recurrent: bool) -> None:
    made = memory(DQN(rollout_length=5, replay_capacity=64 * B, replay_start=8, batch_size=2, sequence_length=4))
    (short,) = played(1, 4, state=recurrent)
    with pytest.raises(UserError, match="--episode-rollouts"):
        made.add(short)


@pytest.mark.parametrize("multi_step", [1, 3, 5])
@pytest.mark.parametrize("prioritized", ["none", "proportional", "rank"])
def test_transitions_are_those_that_were_taken(multi_step: int, prioritized: Any) -> None:
    settings: dict[str, Any] = {"rollout_length": 4, "replay_capacity": 48 * B, "replay_start": 8, "batch_size": 8}
    algorithm = DQN(**settings, multi_step=multi_step, prioritized=prioritized)
    made, rollouts = memory(algorithm), list(played(40, 4))
    rewards, discounts, valid = (
        torch.cat([getattr(each, name) for each in rollouts]) for name in ("rewards", "discounts", "valid")
    )
    seen: set[tuple[int, int]] = set()
    for count, rollout in enumerate(rollouts, 1):
        made.add(rollout)
        written = 4 * count
        if written < multi_step + 4:
            continue
        for replayed in items(made, 12):
            batch = replayed.rollout
            for item in range(len(replayed.weights)):
                number = int(batch.observations["vector"][0, item, 0])
                t, b = divmod(number, 100)
                seen.add((t, b))
                assert written - 48 <= t <= written - 1 - multi_step  # neither overwritten nor incomplete
                assert valid[t, b]
                assert int(batch.actions[0, item]) == number % 7
                total, factor, at = 0.0, 1.0, t
                while at < t + multi_step and valid[at, b]:
                    total, factor = total + factor * float(rewards[at, b]), factor * float(discounts[at, b])
                    at += 1
                assert float(batch.rewards[0, item]) == pytest.approx(total, abs=1e-6)
                assert float(batch.discounts[0, item]) == pytest.approx(factor, abs=1e-6)
                assert int(batch.observations["vector"][1, item, 0]) == 100 * at + b
                high, low = batch.observations["bytes"][1, item].tolist()
                assert 256 * high + low == 100 * at + b
            made.learned(replayed, torch.rand(len(replayed.weights)))
    assert len(seen) > 0.8 * int(valid[: -1 - multi_step].sum())


def test_sequences_are_as_they_were_acted() -> None:
    algorithm = DQN(
        rollout_length=4, replay_capacity=64 * B, replay_start=8, batch_size=4, burn_in=3, sequence_length=6
    )
    made, rollouts = memory(algorithm), list(played(40, 4, state=True))
    whole = {
        name: torch.cat([getattr(each, name)[:4] for each in rollouts])
        for name in ("rewards", "discounts", "valid", "first", "actions")
    }
    for count, rollout in enumerate(rollouts, 1):
        made.add(rollout)
        if count < 4:
            continue
        for replayed in items(made, 2):
            batch, length = replayed.rollout, 9
            assert (len(batch.actions), replayed.burn_in) == (length, 3)
            for item in range(4):
                numbers = batch.observations["vector"][:, item, 0].long()
                t, b = divmod(int(numbers[0]), 100)
                assert t % 4 == 0
                assert 4 * count - 64 <= t <= 4 * count - 1 - length
                assert numbers.tolist() == [100 * row + b for row in range(t, t + length + 1)]
                assert float(batch.state[0][item, 0]) == t  # the state that was stored there
                for name, rows in whole.items():
                    assert torch.equal(getattr(batch, name)[:length, item], rows[t : t + length, b]), name


def test_stacks_are_the_emulators_own() -> None:
    """Over resets, ends by a time limit, lost games and the ring's wrap."""
    experiment: Experiment = small(
        "ALE/Breakout-v5",
        "dqn",
        environment_options={"max_num_frames_per_episode": 160},
        envs_per_worker=B,
        rollout_length=4,
        multi_step=2,
        replay_capacity=60 * B,
        replay_start=8,
    )
    info = describe(experiment)
    assert info.frame_stack == 4
    made = experiment.algorithm.make_memory(WorkerInfo(info, B, 0, 1))
    random = torch.Generator().manual_seed(0)
    collector = Collector(make_environments(experiment, B), (), RolloutRules.of(experiment), 1, source="a test")
    history: list[Any] = []
    first, valid = [], []
    for count in range(1, 51):
        rollout = collector.collect(lambda *_: Decision(torch.randint(4, (1, B), generator=random), ()))
        history += list(rollout.observations[:4].clone())
        first += list(rollout.first[:4].clone())
        valid += list(rollout.valid[:4].clone())
        made.add(rollout)
        if count < 4 or count % 4:
            continue
        for replayed in items(made, 2):
            rows, environments = np.divmod(replayed.places, B)
            written = 4 * count
            rows = rows + (written - 1 - rows) // 60 * 60  # the newest row at that place
            for item, (t, b) in enumerate(zip(rows, environments, strict=True)):
                assert torch.equal(replayed.rollout.observations[0, item], history[t][b])
                after = t + 1 if not valid[t + 1][b] else t + 2
                assert torch.equal(replayed.rollout.observations[1, item], history[after][b])
    collector.environments.close()
    assert int(torch.stack(first).sum()) >= 6  # there were resets
    assert made.steps.observed.kept.nbytes == 60 * B * 84 * 84  # a frame is kept once


def test_a_saved_memory_goes_on_alike(tmp_path: Path) -> None:
    algorithm = DQN(
        rollout_length=4, replay_capacity=48 * B, replay_start=8, prioritized="proportional", save_replay=True
    )
    made, rollouts = memory(algorithm), list(played(20, 4))
    for rollout in rollouts[:17]:
        made.add(rollout)
    assert isinstance(made, SavedReplayMemory)
    made.save(tmp_path / "memory")
    other = memory(algorithm)
    assert isinstance(other, SavedReplayMemory)
    other.load(tmp_path / "memory")
    for each in (made, other):
        each.add(rollouts[17])
    for one, same in zip(items(made, 5), items(other, 5), strict=True):
        assert torch.equal(one.rollout.observations["vector"], same.rollout.observations["vector"])
        assert torch.equal(one.rollout.rewards, same.rollout.rewards)
        assert torch.equal(one.weights, same.weights)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"replay_capacity": 100, "replay_start": 200}, "--replay-start 200 never comes"),
        ({"replay_capacity": 16, "replay_start": 8}, "--batch-size 32 is larger .* give a smaller batch"),
        ({"multi_step": 0}, "--multi-step must be at least 1"),
        ({"replay_ratio": 0.0}, "--replay-ratio must be positive"),
        ({"priority_exponent": 2.0}, "must lie in"),
        ({"burn_in": -1}, "--burn-in must not be negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        DQN(**settings)


@pytest.mark.parametrize(
    ("settings", "recurrent", "least"),
    [
        ({"multi_step": 20}, False, 28 * B),  # a transition, and two rollouts that are being collected
        ({"batch_size": 38}, False, 20 * B),
        ({"sequence_length": 10, "burn_in": 3}, True, 24 * B),
        ({"sequence_length": 2, "burn_in": 0, "batch_size": 12}, True, 24 * B),
    ],
)
def test_a_capacity_that_is_too_small_is_refused_with_one_that_is_not(
    settings: dict[str, Any], recurrent: bool, least: int
) -> None:
    few: dict[str, Any] = {"rollout_length": 4, "replay_start": 8, "batch_size": 4, **settings}
    worker = WorkerInfo(EnvironmentInfo("x", VECTOR, Discrete(7), 1, 1), B, 0, 1, recurrent)
    small = DQN(**few, replay_capacity=least - 1)
    for check in (lambda: small.memory_bytes(worker), lambda: memory(small).add(next(played(1, 4, recurrent)))):
        with pytest.raises(UserError, match=f"give at least {least}, or fewer environments"):
            check()
    algorithm = DQN(**few, replay_capacity=least)
    assert algorithm.memory_bytes(worker) > 0
    made = memory(algorithm)
    for rollout in played(20, 4, recurrent):
        made.add(rollout)
        if made.collected >= 40:
            assert next(items(made)).weights.shape == (algorithm.batch_size,)


def test_learning_waits_for_a_minibatch_whatever_the_start() -> None:
    made = memory(DQN(rollout_length=4, replay_start=1, batch_size=32))
    for rollout in played(20, 4):
        made.add(rollout)
        replayed = list(made.draw(None, torch.Generator().manual_seed(0), PROGRESS))  # type: ignore[arg-type]
        assert bool(replayed) == (made.collected >= 32)
