"""Exploration bonuses against counts that are kept in a dictionary, over several workers, and what they change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

import tests.environments  # noqa: F401  (registers test/Deep-v0)
from asyncrl.config import Experiment
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.networks.newest_frame import NewestFrame
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import load_newest
from asyncrl.runtime.exploration_bonus import ExplorationBonus, SmallImages
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.worker import Worker
from asyncrl.types import EnvironmentInfo, Rollout
from tests.experiments import small
from tests.runtime.test_reward_normalizer import workers_of

SCALE = 0.5


def experiment(**settings: Any) -> Experiment:
    bonus = {"exploration_bonus": "hash", "bonus_scale": SCALE, "envs_per_worker": 3, "rollout_length": 6}
    return small("test/Deep-v0", **{**bonus, "steps": 10_000, **settings})


def next_rollout(worker: Worker) -> tuple[Rollout, tuple[Any, ...]]:
    """A copy of the rollout that a worker learns from in its next turn, and the episodes that it reports."""
    add, seen = worker.memory.add, []

    def look(rollout: Rollout) -> None:
        seen.append(rollout.kept())
        add(rollout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.memory, "add", look)
        report = worker.turn()
    return seen[0], report.episodes


def test_bonuses_follow_the_visits_of_all_workers_and_returns_stay_raw(tmp_path: Path) -> None:
    supervisor, workers = workers_of(experiment(workers=2), tmp_path)
    visits: Counter[int] = Counter()
    ended = dummies = 0
    for turn in range(12):
        rollout, episodes = next_rollout(workers[turn % 2])
        reached = rollout.observations[1:].argmax(-1)
        visits.update(reached[rollout.valid].tolist())
        for t, row in enumerate(reached.tolist()):
            for b, state in enumerate(row):
                paid = 1.0 if state == 11 and rollout.valid[t, b] else 0.0
                bonus = SCALE / visits[state] ** 0.5 if rollout.valid[t, b] else 0.0
                assert float(rollout.rewards[t, b]) == pytest.approx(paid + bonus, abs=1e-6)
        ended += len(episodes)
        dummies += int((~rollout.valid).sum())
        assert all(episode.total_reward in (0, 1) for episode in episodes)
    assert ended > 0
    assert dummies > 0
    assert supervisor.shared.visits is not None
    assert supervisor.shared.visits.visited == len(visits)
    assert int(supervisor.shared.visits.counts.sum()) == sum(visits.values())


def test_a_resumed_run_goes_on_with_its_counts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    settings = experiment(steps=300)
    folder.write_experiment(settings)
    first = Supervisor(settings, describe(settings), folder)
    first.run([])
    checkpoint, _ = load_newest(tmp_path / "checkpoints")
    assert int(checkpoint.tensors["visits"].sum()) == checkpoint.state.steps
    second = Supervisor(settings, describe(settings), RunFolder(tmp_path / "again"), checkpoint)
    assert first.shared.visits is not None
    assert second.shared.visits is not None
    assert torch.equal(first.shared.visits.counts, second.shared.visits.counts)


def bonus_for(space: gymnasium.Space[Any], frame_stack: int = 1, bits: int = 64) -> ExplorationBonus:
    info = EnvironmentInfo("test", space, Discrete(2), frames_per_step=1, frame_stack=frame_stack)
    found = ExplorationBonus.of(experiment(hash_bits=bits), info)
    assert found is not None
    return found


def test_of_a_stack_of_frames_the_newest_one_counts() -> None:
    bonus = bonus_for(Box(0, 255, (84, 84, 4), np.uint8), frame_stack=4)
    assert bonus.features.size == 52 * 52
    frames = torch.randint(0, 256, (3, 84, 84, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    older = frames.clone()
    older[..., :3] = 0
    newer = frames.clone()
    newer[..., 3] = 255 - newer[..., 3]
    assert torch.equal(bonus.cells(frames), bonus.cells(older))
    assert not (bonus.cells(frames) == bonus.cells(newer)).any()


def test_small_images_keep_their_channels() -> None:
    bonus = bonus_for(Box(0, 1, (10, 10, 4), np.bool_))
    images = torch.zeros(2, 10, 10, 4, dtype=torch.bool)
    images[0, 3, 3, 0] = images[1, 3, 3, 1] = True
    one, other = bonus.cells(images).tolist()
    assert one != other


def test_vectors_count_by_their_bounds_and_not_by_their_direction() -> None:
    bonus = bonus_for(Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32)))
    slow, fast, further = torch.tensor([[-0.5, 0.0], [-0.5, 0.05], [0.5, 0.0]]).split(1)
    assert len({int(bonus.cells(state)) for state in (slow, fast, further)}) == 3
    assert int(bonus.cells(slow)) == int(bonus.cells(slow + 1e-7))
    largest = np.iinfo(np.int32).max
    for unbounded in (Box(-np.inf, np.inf, (1,), np.float32), Box(-largest, largest, (1,), np.int32)):
        assert len(bonus_for(unbounded).cells(torch.tensor([[0.5], [1.0], [2.0]])).unique()) == 3


def test_dictionaries_of_vectors_count_without_the_last_action() -> None:
    spaces = {name: Box(-1, 1, (2,), np.float32) for name in ("arm", "goal", "last_action")}
    bonus = bonus_for(Dict(spaces))
    here = {name: torch.zeros(1, 2) for name in spaces}
    assert bonus.cells(here).equal(bonus.cells({**here, "last_action": torch.ones(1, 2)}))
    assert not bonus.cells(here).equal(bonus.cells({**here, "goal": torch.ones(1, 2)}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bonus_scale": 0.0}, "--bonus-scale must be positive"),
        ({"hash_bits": 0}, "--hash-bits must lie between"),
        ({"exploration_bonus": "none"}, "--bonus-scale 0.5 needs --exploration-bonus hash"),
        ({"exploration_bonus": "none", "bonus_scale": 0.01, "hash_bits": 9}, "--hash-bits 9 needs"),
        ({"algorithm": "unreal", "pixel_control": 0.0}, "add --reward-prediction 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        experiment(**settings)


def test_large_images_are_made_grey_and_averaged() -> None:
    frame = NewestFrame.of(EnvironmentInfo("test", Box(0, 255, (60, 80, 3), np.uint8), Discrete(2), frames_per_step=1))
    assert frame is not None
    images = torch.randint(0, 256, (2, 60, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = images.float().mean(-1).unsqueeze(1) / 255
    expected = torch.nn.functional.adaptive_avg_pool2d(grey, (52, 52)).flatten(1)
    torch.testing.assert_close(SmallImages(frame)(images), expected)
