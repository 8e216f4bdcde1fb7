"""The game that the server plays: with which parameters, when, and which events it sends."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.agent import untrained
from asyncrl.analysis import episode
from asyncrl.analysis.readout import readout_of
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.checkpoint import checkpoint_folders, load_checkpoint, save_checkpoint, step_of
from asyncrl.serve import events, latest, player
from asyncrl.serve.auxiliary_view import AuxiliaryView
from asyncrl.serve.latest import LatestAgent
from asyncrl.serve.player import Player
from tests.experiments import small

SECONDS = 60.0


@dataclass
class Untrained:
    """Stands in for `LatestAgent`, without a run."""

    agent: Agent
    steps: int | None = 0
    written_at: float = 0.0
    problem: str = ""

    def refresh(self) -> None:
        """There is nothing newer."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(player, "RELOAD_SECONDS", 0.1)
    monkeypatch.setattr(events, "KEEPALIVE_SECONDS", 0.1)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Gets an item for each environment that is closed."""
    found: list[bool] = []
    make = episode.make_environments

    def recorded(*arguments: Any, **options: Any) -> Any:
        environments = make(*arguments, **options)
        close = environments.close
        environments.close = lambda: (found.append(True), close())
        return environments

    monkeypatch.setattr(episode, "make_environments", recorded)
    return found


def started(source: Any) -> Any:
    playing = Player(source)
    playing.start()
    return closing(playing)


def until(stream: Iterator[str], wanted: str, condition: Callable[[Any], bool] = lambda data: True) -> Any:
    """The data of the first event of a kind that fulfils a condition."""
    deadline = time.monotonic() + SECONDS
    for text in stream:
        assert time.monotonic() < deadline, f"no such {wanted}"
        for event in text.split("\n\n"):
            kind, _, data = event.partition("\ndata: ")
            if kind == f"event: {wanted}" and condition(json.loads(data)):
                return json.loads(data)
    raise AssertionError("the stream has ended")


def cut(checkpoint: Path) -> None:
    """Truncates a checkpoint, as a bad disk may leave it."""
    tensors = checkpoint / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])


def later(run: RunFolder, steps: int) -> None:
    """Writes the newest checkpoint again under a later step."""
    checkpoint = load_checkpoint(checkpoint_folders(run.checkpoints)[-1])
    state = replace(checkpoint.state, steps=steps)
    save_checkpoint(run.checkpoints, replace(checkpoint, state=state))


def test_it_waits_for_the_first_checkpoint_and_loads_new_ones(run: RunFolder) -> None:
    hidden = run.checkpoints.rename(run.path / "hidden")
    with started(LatestAgent(run)) as playing, closing(playing.broadcast.listen()) as stream:
        until(stream, "notice", lambda data: "first checkpoint" in data["text"])
        hidden.rename(run.checkpoints)
        first = step_of(checkpoint_folders(run.checkpoints)[-1])
        assert until(stream, "setup")["kind"] == "probabilities"
        assert until(stream, "step")["steps"] == first
        later(run, 50_000)
        seen = until(stream, "step", lambda data: data["steps"] != first)
        assert seen["steps"] == 50_000
        assert sum(until(stream, "step", lambda data: not data["last"])["preferences"]) == pytest.approx(1, abs=1e-4)


def test_a_damaged_checkpoint_changes_nothing(run: RunFolder) -> None:
    first = step_of(checkpoint_folders(run.checkpoints)[-1])
    with started(LatestAgent(run)) as playing, closing(playing.broadcast.listen()) as stream:
        assert until(stream, "step")["steps"] == first
        later(run, 50_000)
        until(stream, "step", lambda data: data["steps"] == 50_000)
        shutil.copytree(checkpoint_folders(run.checkpoints)[-1], run.path / "damaged")
        cut(run.path / "damaged")
        (run.path / "damaged").rename(run.checkpoints / "step-000000060000")
        seen = until(stream, "step", lambda data: data["problem"])
        assert seen["steps"] == 50_000
        assert seen["problem"].startswith("the newest checkpoint is not in use: ")
        assert "damaged" in seen["problem"]


def test_an_older_one_is_taken_if_the_newest_was_damaged_from_the_start(run: RunFolder) -> None:
    first = step_of(checkpoint_folders(run.checkpoints)[-1])
    later(run, 50_000)
    cut(checkpoint_folders(run.checkpoints)[-1])
    agent = LatestAgent(run)
    agent.refresh()
    assert agent.steps == first
    assert "damaged" in agent.problem


def test_which_checkpoint(run: RunFolder) -> None:
    first = step_of(checkpoint_folders(run.checkpoints)[-1])
    fixed = LatestAgent(run, str(first))
    later(run, 50_000)
    fixed.refresh()
    assert fixed.steps == first
    with pytest.raises(UserError, match="holds no checkpoint '77'"):
        LatestAgent(run, "77")


def test_nothing_is_played_when_nobody_looks(run: RunFolder, closed: list[bool]) -> None:
    with started(LatestAgent(run)) as playing:
        time.sleep(0.2)
        assert closed == []
        streams = [playing.broadcast.listen() for _ in range(3)]  # three pages see one game
        for stream in streams:
            until(stream, "step")
        probes = len(closed)  # environments that were only asked for their speed
        streams[0].close()
        until(streams[1], "step")
        assert len(closed) == probes
        for stream in streams[1:]:
            stream.close()
        deadline = time.monotonic() + SECONDS
        while len(closed) == probes:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with closing(playing.broadcast.listen()) as stream:
            until(stream, "step")  # and again


def test_a_pause(run: RunFolder) -> None:
    with started(LatestAgent(run)) as playing, closing(playing.broadcast.listen()) as stream:
        until(stream, "step")
        playing.set_speed(0.0)
        assert until(stream, "speed", lambda data: data["speed"] == 0)
        waited = [next(stream) for _ in range(6)]
        assert "keepalive" in "".join(waited[2:])
        assert "step" not in "".join(waited[2:])
        playing.set_speed(4.0)
        until(stream, "step")


@pytest.mark.parametrize(
    ("environment", "algorithm", "kind", "names", "sizes"),
    [
        ("test/Levers-v0", "a3c", "probabilities", 4, [2, 2]),
        ("test/Reach-v0", "a3c", "distribution", 1, [1]),
        ("test/Rooms-v0", "nstep-q", "action values", None, None),
    ],
)
def test_all_kinds_of_actions(
    monkeypatch: pytest.MonkeyPatch, environment: str, algorithm: str, kind: str, names: int | None, sizes: Any
) -> None:
    monkeypatch.setattr(episode, "_rendered", lambda environments: np.zeros((500, 400, 3), np.uint8))
    with (
        started(Untrained(untrained(small(environment, algorithm)))) as playing,
        closing(playing.broadcast.listen()) as stream,
    ):
        setup = until(stream, "setup")
        seen = until(stream, "step", lambda data: not data["last"])
    assert setup["kind"] == kind
    assert len(setup["names"]) == len(seen["preferences"]) == sum(setup["sizes"])
    if sizes is not None:
        assert (len(setup["names"]), setup["sizes"]) == (names, sizes)
    assert (seen["deviation"] is not None) == (kind == "distribution")
    assert seen["value"] is not None
    assert seen["frame"].startswith("data:image/jpeg")


@pytest.mark.parametrize(
    ("rate", "sent", "longest"),
    [(10, 10, 0.1), (25, 25, 0.04), (30, 30, 1 / 30), (50, 30, 0.04), (60, 30, 0.05), (240, 30, 1 / 24)],
)
def test_pictures_are_sent_evenly(rate: int, sent: int, longest: float) -> None:
    late = np.random.default_rng(0).uniform(0, 0.002, 10 * rate)  # no sleep ends in time
    clock = player.PictureClock()
    times = [time for time in np.arange(10 * rate) / rate + late if clock.is_due(time)]
    assert len(times) == pytest.approx(10 * sent, abs=2)
    assert np.diff(times)[5:].max() < longest + 0.003


def test_an_environment_that_cannot_draw_itself_is_shown_by_its_observation() -> None:
    with (
        started(Untrained(untrained(small("test/Levers-v0")))) as playing,
        closing(playing.broadcast.listen()) as stream,
    ):
        step = until(stream, "step")
        assert step["problem"] == "the environment cannot draw itself: the observation is shown instead"
        assert step["frame"].startswith("data:image/")


def test_a_game_that_fails_is_reported() -> None:
    with (
        started(Untrained(untrained(small("test/Crash-v0", environment_options={"after": 5})))) as playing,
        closing(playing.broadcast.listen()) as stream,
    ):
        until(stream, "notice", lambda data: "the simulator broke" in data["text"])


@pytest.mark.parametrize("algorithm", ["a3c", "nstep-q"])
def test_values_are_shown_in_the_units_of_the_return(algorithm: str) -> None:
    agent = untrained(small("Catch-v0", algorithm, reward_scale=0.1, reward_clip=1.0))
    readout = readout_of(agent)
    with episode.EpisodePlayer(agent) as playing:
        step = next(iter(playing.play(1, False, 0)))
    learned, shown = readout.read(step.decision.outputs), player._shown(step, readout, agent.experiment.reward_scale)
    assert shown["value"] == pytest.approx(10 * float(learned.values[0]), rel=1e-3)  # type: ignore[index]
    factor = 10 if algorithm == "nstep-q" else 1
    assert shown["preferences"] == pytest.approx([factor * float(value) for value in learned.preferences[0]], rel=1e-3)
    with started(Untrained(agent)) as live, closing(live.broadcast.listen()) as stream:
        setup = until(stream, "setup")
    assert "rewards to come, each clipped to ±1 and discounted by 0.99 per step" in setup["note"]


def test_what_auxiliary_tasks_say_is_sent_with_the_steps() -> None:
    agent = untrained(small("Catch-v0", "unreal", memory="lstm"))
    with started(Untrained(agent)) as playing, closing(playing.broadcast.listen()) as stream:
        first = until(stream, "step", lambda step: step["length"] == 0)
        assert first["predicted"] is None  # a reward is predicted from three observations
        step = until(stream, "step", lambda step: step["predicted"] is not None)
        assert sum(step["predicted"]) == pytest.approx(1)
        assert step["control"].startswith("data:image/png")
    view, heads = AuxiliaryView(agent), ["pixel_control", "reward_prediction"]
    with episode.EpisodePlayer(agent) as plays:
        steps = list(itertools.islice(plays.play(1, deterministic=True, seed=0), 6))
    for step in steps:
        view.observe(step.decision)
        found = view.read(agent, step.decision)
    seen = torch.cat([step.decision.observation for step in steps])
    first = torch.zeros(len(steps), 1, dtype=torch.bool)
    first[0] = True
    with torch.no_grad():
        outputs, _ = agent.network(seen, agent.network.initial_state(1), first, heads[:1])
        logits = agent.network.see(seen, heads[1:])["reward_prediction"][-1, 0]
    assert view.highest == pytest.approx(float(outputs["pixel_control"].max()))
    assert sorted(found["predicted"]) == pytest.approx(sorted(logits.softmax(-1).tolist()), abs=1e-5)


def test_an_agent_without_auxiliary_tasks_shows_none() -> None:
    agent = untrained(small())
    with episode.EpisodePlayer(agent) as plays:
        step = next(plays.play(1, deterministic=True, seed=0))
    view = AuxiliaryView(agent)
    view.observe(step.decision)
    assert view.read(agent, step.decision) == {"control": None, "predicted": None}
