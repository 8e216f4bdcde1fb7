"""The report's chapters on auxiliary tasks and on paths: their numbers against plain loops."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asyncrl.analysis.inspection.auxiliary_chapter import _changes, _predictions, show_auxiliary
from asyncrl.analysis.inspection.chapter import NotShownError, Subject
from asyncrl.analysis.inspection.paths import show_paths
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.networks import make_network
from tests.analysis.test_inspection import record_of, subject_of
from tests.experiments import small

KINDS: dict[str, dict[str, Any]] = {
    "boards": {"environment": "Catch-v0"},
    "stacks of frames, lstm": {"environment": "ALE/Pong-v5", "memory": "lstm"},
    "masked": {"environment": "test/Menu-v0", "pixel_control": 0.0},
}


@cache
def recording_of(kind: str) -> Recording:
    experiment = small(algorithm="unreal", **KINDS[kind])
    info = describe(experiment)
    torch.manual_seed(0)
    agent = Agent(experiment, info, make_network(experiment, info), torch.Generator())
    return record_of(agent, 25)


def subject(recording: Recording) -> Subject:
    return Subject(RunFolder(Path("nowhere")), recording)


@pytest.mark.parametrize("kind", ["boards", "stacks of frames, lstm"])
def test_changes_and_values_of_pixel_control(kind: str) -> None:
    recording = recording_of(kind)
    agent, end = recording.agent, 0
    side = 4 if kind == "stacks of frames, lstm" else 1
    for length, (steps, changes, following, highest, taken) in zip(recording.lengths, _changes(recording), strict=True):
        start, end = end, end + int(length)
        assert steps.tolist() == list(range(start, end - 1))
        for row, number in enumerate(steps.tolist()):
            now, then = (recording.steps[one].decision for one in (number, number + 1))
            before, after = (decision.observation[0, 0].float().numpy() for decision in (now, then))
            if kind == "stacks of frames, lstm":
                before, after = before[2:82, 2:82, -1] / 255, after[2:82, 2:82, -1] / 255
            else:
                before, after = before[: 2 * (len(before) // 2), 0:4], after[: 2 * (len(after) // 2), 0:4]
            y, x = 1, 2
            cell = np.s_[side * y : side * (y + 1), side * x : side * (x + 1)]
            assert changes[row, y, x] == pytest.approx(np.abs(after[cell] - before[cell]).mean(), abs=1e-6)
            with torch.no_grad():
                outputs, _ = agent.network._forward(now.observation, now.state, now.first, ["pixel_control"])
            values = outputs["pixel_control"][0, 0]
            np.testing.assert_allclose(highest[row], values.max(-1).values.numpy(), atol=1e-5)
            np.testing.assert_allclose(taken[row], values[..., int(now.action)].numpy(), atol=1e-5)
        discounted = sum(0.9**k * changes[k] for k in range(len(changes)))
        np.testing.assert_allclose(following[0], discounted, atol=1e-5)


def test_predictions_of_rewards_see_three_observations_of_one_episode() -> None:
    recording = recording_of("boards")
    found = _predictions(recording)
    assert found.shape == (len(recording), 3)
    for number in range(len(recording)):
        back = min(2, int(recording.step_numbers[number]))
        seen = recording.episode_observations(slice(number - back, number + 1))
        with torch.no_grad():
            logits = recording.agent.network.see(seen, ["reward_prediction"])["reward_prediction"][-1, 0]
        np.testing.assert_allclose(found[number], torch.softmax(logits, -1).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "names"), [("boards", ["pixel_control", "reward_prediction"]), ("masked", ["reward_prediction"])]
)
def test_only_tasks_that_the_agent_has_are_shown(kind: str, names: list[str]) -> None:
    chapter = show_auxiliary(subject(recording_of(kind)))
    assert [picture.name for picture in chapter.pictures] == names


def test_episodes_of_one_step_have_no_changes() -> None:
    recording = recording_of("boards")
    short = replace(recording, episodes=(replace(recording.episodes[0], steps=recording.episodes[0].steps[:1]),))
    assert [picture.name for picture in show_auxiliary(subject(short)).pictures] == ["reward_prediction"]


def test_agents_without_these_tasks_have_no_such_chapter() -> None:
    with pytest.raises(NotShownError, match="--algorithm unreal"):
        show_auxiliary(subject_of("policy on boards"))
    with pytest.raises(NotShownError, match="no picture from above"):
        show_paths(subject_of("policy on boards"))


def test_paths_are_drawn_where_the_agent_was() -> None:
    pytest.importorskip("numba")
    experiment = small("LabyrinthRoom-v0")
    info = describe(experiment)
    agent = Agent(experiment, info, make_network(experiment, info), torch.Generator())
    recording = record_of(agent, 30)
    episode = recording.episodes[0]
    assert episode.above is not None
    assert episode.above.shape == (7 * 32, 7 * 32, 3)
    places = np.array([step.place for step in episode.steps])
    assert (places > 32).all()
    assert (places < 6 * 32).all()
    assert np.abs(np.diff(places, axis=0)).max() < 0.25 * 32
    green = np.argwhere((episode.above[..., 1] > 100) & (episode.above[..., 0] < 60))  # the agent is drawn there
    assert np.abs(green.mean(0)[::-1] - places[0]).max() < 0.3 * 32
    (picture,) = show_paths(subject(recording)).pictures
    points = np.concatenate([np.asarray(part.get_offsets()) for part in picture.figure.axes[0].collections])
    np.testing.assert_allclose(points[: len(places)], places)
