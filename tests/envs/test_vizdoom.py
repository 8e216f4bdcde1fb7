"""ViZDoom's environments as agents see them, and engines that never outlive their player."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import psutil
import pytest

from asyncrl.api import train
from asyncrl.config import Experiment
from asyncrl.envs import vizdoom
from asyncrl.envs.make import describe, make_environments, make_vector
from asyncrl.resolution import resolve, starting_point
from tests.runtime.processes import wait_for

pytest.importorskip("vizdoom", reason="ViZDoom is not installed: pip install -e '.[vizdoom]'")
pytestmark = pytest.mark.timeout(120)

SMALL = {"frame_skip": 4, "screen_resolution": "RES_160X120"}


def experiment(environment: str, **settings: Any) -> Experiment:
    return resolve(starting_point(environment), {"workers": 1, **settings})


def steps(environment: str, count: int, **options: Any) -> list[tuple[Any, ...]]:
    """What a single environment gives in so many random steps, until its first episode has ended."""
    vector = make_vector(environment, {**SMALL, **options}, 1)
    given: list[tuple[Any, ...]] = [vector.reset(seed=3)]
    vector.action_space.seed(3)
    for _ in range(count):
        given.append(vector.step(vector.action_space.sample()))
        given[-1] = ({key: part.copy() for key, part in given[-1][0].items()}, *given[-1][1:])
        if given[-1][2][0] or given[-1][3][0]:
            break
    vector.close()
    return given


def test_a_time_limit_truncates_and_leaves_the_last_picture() -> None:
    *_, before, (observations, _, terminated, truncated, _) = steps("VizdoomHealthGathering-v1", 99, episode_timeout=60)
    assert truncated[0]
    assert not terminated[0]
    assert observations["screen"].any()
    assert np.array_equal(observations["screen"], before[0]["screen"])


def test_a_monster_that_is_hit_terminates_the_episode() -> None:
    *_, (_, rewards, terminated, truncated, _) = steps("VizdoomBasic-v1", 75, episode_timeout=0)
    assert rewards[0] > 90
    assert terminated[0]
    assert not truncated[0]


def test_equal_seeds_play_equal_episodes() -> None:
    one, other = steps("VizdoomBasic-v1", 20), steps("VizdoomBasic-v1", 20)
    assert len(one) == len(other) > 5
    for (seen, *_), (again, *_) in zip(one, other, strict=True):
        assert np.array_equal(seen["screen"], again["screen"])


def test_the_preset_fits_pictures_and_variables() -> None:
    settings = experiment("VizdoomBasic")
    assert settings.preset == "tuned/vizdoom"
    info = describe(settings)
    assert info.frames_per_step == 4
    spaces = info.observation_space.spaces  # type: ignore[attr-defined]
    assert {key: space.shape for key, space in spaces.items()} == {"screen": (60, 80, 3), "gamevariables": (1,)}
    environments = make_environments(settings, 2)
    observations, _ = environments.reset(seed=1)
    assert observations["screen"].shape == (2, 60, 80, 3)
    environments.close()


PLAY = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
from asyncrl.envs.make import make_vector
vector = make_vector("VizdoomBasic-v1", {"frame_skip": 4, "screen_resolution": "RES_160X120"}, 2)
vector.reset(seed=1)
print("ready", flush=True)
time.sleep(60)
"""


def engines(player: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(player).children(recursive=True) if child.name() == "vizdoom"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process together with its parent")
def test_engines_end_with_a_player_that_is_killed_and_write_nothing_beside_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLAY]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as player:
        assert player.stdout is not None
        assert player.stdout.readline() == "ready\n"
        started = engines(player.pid)
        assert len(started) == 2
        os.killpg(player.pid, signal.SIGINT)  # as Ctrl-C does
        time.sleep(0.5)
        assert all(engine.is_running() for engine in started)
        player.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(engine.is_running() for engine in started), 10, "the end of the engines")
    assert list(tmp_path.iterdir()) == []


def test_shared_memory_of_dead_engines_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vizdoom, "SHARED_MEMORY", tmp_path)
    old, young, running, other = (tmp_path / name for name in ("ViZDoomSMdead", "ViZDoomSMnew", "ViZDoomSMlive", "sem"))
    for path in (old, young, running, other):
        path.touch()
    for path in (old, running, other):
        os.utime(path, (time.time() - 1000, time.time() - 1000))
    with subprocess.Popen([sys.executable, "-c", "input()", "+viz_instance_id", "live"], stdin=subprocess.PIPE) as live:
        vizdoom.remove_leftovers()
        live.kill()
    assert sorted(tmp_path.iterdir()) == sorted([young, running, other])


def test_a_run_with_processes(tmp_path: Path) -> None:
    result = train(
        "VizdoomBasic",
        memory="lstm",
        workers=1,
        envs_per_worker=2,
        rollout_length=5,
        steps=100,
        quiet=True,
        run_dir=tmp_path / "run",
    )
    assert result.load().evaluate(1).return_mean < 101


def test_other_environments_are_left_alone() -> None:
    assert not vizdoom.is_vizdoom(gymnasium.spec("CartPole-v1"))
