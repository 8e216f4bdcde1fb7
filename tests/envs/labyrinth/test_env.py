"""The environments: Gymnasium's conventions, seeds, the vector against single labyrinths, and training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

pytest.importorskip("numba")

import asyncrl.envs
from asyncrl.api import train
from asyncrl.envs.labyrinth.env import LabyrinthVectorEnv
from asyncrl.envs.make import make_vector
from asyncrl.errors import UserError

assert asyncrl.envs

IDS = ("Labyrinth-v0", "LabyrinthStatic-v0", "LabyrinthRoom-v0", "LabyrinthTMaze-v0")


@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_checker_passes(name: str) -> None:
    check_env(gymnasium.make(name).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", IDS)
def test_training_uses_the_vector(name: str) -> None:
    env = make_vector(name, {}, 2)
    assert isinstance(env, LabyrinthVectorEnv)
    assert env.reset(seed=0)[0] in env.observation_space


@pytest.mark.parametrize("name", IDS)
def test_a_vector_is_the_same_as_single_labyrinths(name: str) -> None:
    knobs = {"seconds": 2.0}
    vector = gymnasium.make_vec(name, 3, **knobs)
    singles = [gymnasium.make(name, disable_env_checker=True, **knobs) for _ in range(3)]
    frames, infos = vector.reset(seed=5)
    starts = [single.reset(seed=5 + b) for b, single in enumerate(singles)]
    random, ended = np.random.default_rng(0), [False] * 3
    for b, (frame, info) in enumerate(starts):
        assert np.array_equal(frames[b], frame)
        assert np.array_equal(infos["position"][b], info["position"])
    for _ in range(70):  # with two new episodes
        actions = random.integers(8, size=3)
        frames, rewards, terminated, truncated, _ = vector.step(actions)
        for b, single in enumerate(singles):
            if ended[b]:
                frame, expected = single.reset()[0], (0.0, False, False)
            else:
                frame, *rest, _ = single.step(actions[b])
                expected = tuple(rest)
            assert np.array_equal(frames[b], frame)
            assert (rewards[b], terminated[b], truncated[b]) == expected
            ended[b] = bool(expected[1] or expected[2])


def test_a_seed_decides_everything_and_no_seed_decides_nothing() -> None:
    def played(seed: int | list[int] | None) -> Any:
        env = LabyrinthVectorEnv(2, size=7, apples=3, seconds=1)
        frames = [env.reset(seed=seed)[0]]
        return np.stack(frames + [env.step(np.array([4, i % 8]))[0] for i in range(40)])

    assert np.array_equal(played(1), played([1, 2]))
    assert not np.array_equal(played(1), played(3))
    assert not np.array_equal(played(None), played(None))


def test_frames_of_earlier_steps_stay_as_they_are() -> None:
    env = LabyrinthVectorEnv(2)
    first, _ = env.reset(seed=0)
    copy = first.copy()
    env.step(np.array([2, 3]))
    assert np.array_equal(first, copy)


def test_info_has_place_heading_and_map() -> None:
    env = LabyrinthVectorEnv(2, size=7, apples=3, map_in_info=True)
    _, info = env.reset(seed=0)
    assert info["position"].shape == (2, 2)
    assert info["heading"].shape == (2,)
    assert info["map"].shape == (2, 56, 56, 3)
    assert info["_map"].all()
    for b in range(2):
        x, y = (8 * info["position"][b]).astype(int)
        assert tuple(info["map"][b, y, x]) == (20, 120, 40)  # the agent
        is_wall = info["map"][b, 4::8, 4::8].max(-1) < 150
        assert (env.worlds.walls[b].astype(bool) <= is_wall).all()
    assert "map" not in LabyrinthVectorEnv(1).reset(seed=0)[1]


def test_pictures_show_view_and_map(monkeypatch: pytest.MonkeyPatch) -> None:
    env = gymnasium.make("Labyrinth-v0", render_mode="rgb_array")
    frame, _ = env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (336, 672, 3)
    assert np.array_equal(picture[::4, :336:4], frame)
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = gymnasium.make("Labyrinth-v0", render_mode="human")
    window.reset(seed=0)
    window.step(0)
    window.close()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"layout": "house"}, "layout is one of"),
        ({"size": 8}, "odd number"),
        ({"size": 3}, "odd number"),
        ({"textures": 9}, "textures must lie"),
        ({"seconds": 0}, "seconds must be"),
        ({"maze": -1}, "maze must be"),
        ({"size": 5, "apples": 6}, "apples must lie between 0 and 5"),
        ({"apples": 0, "portal": False}, "apples or a portal"),
        ({"layout": "t-maze"}, "apples=0"),
        ({"layout": "t-maze", "apples": 0, "portal": False, "size": 5}, "at least 7"),
    ],
)
def test_impossible_knobs_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabyrinthVectorEnv(1, **knobs)


@pytest.mark.parametrize("actions", [[0], [0, 8], [-1, 0]])
def test_impossible_actions_are_refused(actions: list[int]) -> None:
    env = LabyrinthVectorEnv(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="takes 2 actions from 0 to 7"):
        env.step(np.array(actions))


def test_an_lstm_is_trained_on_it(tmp_path: Path) -> None:
    result = train(
        "Labyrinth-v0",
        environment_options={"seconds": 2.0},
        memory="lstm",
        memory_size=16,
        steps=64,
        workers=1,
        envs_per_worker=2,
        runtime="serial",
        run_dir=tmp_path / "run",
    )
    assert result.summary["steps"] >= 64
    assert result.experiment.network.memory == "lstm"


def test_registering_does_not_import_numba() -> None:
    code = "import sys, asyncrl.envs.ids; asyncrl.envs.ids.find_spec('Labyrinth-v0'); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_without_numba_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("asyncrl.envs.labyrinth")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(UserError, match=r"^Labyrinth needs numba, which is not installed: .*install.*labyrinth"):
        make_vector("Labyrinth-v0", {}, 1)


SMALL = """
from asyncrl.envs.labyrinth.compiled import entry

def made_from(sources):
    def double(number):
        assert sources
        return 2 * number
    return entry(double)
"""


def test_compiled_code_is_kept_until_the_sources_change_and_compiling_is_announced(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SMALL)
    start = f"import asyncrl.envs.labyrinth as package; package.__path__.append({str(tmp_path)!r})"
    use = "from asyncrl.envs.labyrinth.small import made_from; print(made_from({})(4))"

    def run(sources: int) -> tuple[str, str]:
        command = [sys.executable, "-c", f"{start}; {use.format(sources)}"]
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout, done.stderr

    announced = ("8\n", "Labyrinth is being compiled; the next start will be quick\n")
    assert [run(sources) for sources in (1, 1, 2)] == [announced, ("8\n", ""), announced]
