"""Experiments: their YAML form, presets, and what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asyncrl.config import from_dict, to_dict
from asyncrl.errors import UserError
from asyncrl.presets import PRESETS, default_preset, find_preset
from asyncrl.run_folder import RunFolder
from asyncrl.training import starting_point, with_settings


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_an_experiment_survives_its_file(tmp_path: Path, preset: object) -> None:
    experiment = preset.make("ALE/Pong-v5")  # type: ignore[attr-defined]
    folder = RunFolder(tmp_path)
    folder.write_experiment(experiment)
    assert folder.read_experiment() == experiment


def test_the_paper_preset_is_the_papers() -> None:
    experiment = find_preset("paper/a3c-lstm").make("ALE/Pong-v5")
    assert experiment.network.memory == "lstm"
    assert experiment.network.memory_size == 256
    assert experiment.optimizer.optimizer == "shared-rmsprop"
    assert (experiment.optimizer.epsilon, experiment.optimizer.decay) == (0.1, 0.99)
    assert (experiment.envs_per_worker, experiment.episode_rollouts) == (1, True)


@pytest.mark.parametrize(
    ("environment", "preset"),
    [
        ("Catch-v0", "tuned/catch"),
        ("CatchMemory-v0", "tuned/catch-memory"),
        ("CartPole-v1", "tuned/cartpole"),
        ("ALE/Pong-v5", "tuned/atari"),
        ("PongNoFrameskip-v4", "tuned/atari"),
        ("Acrobot-v1", "tuned/default"),
    ],
)
def test_the_default_preset(environment: str, preset: str) -> None:
    assert default_preset(environment).name == preset
    assert starting_point(environment, None, None).preset == preset


def test_settings_are_found_by_name_anywhere_in_the_tree() -> None:
    experiment = with_settings(
        starting_point("Catch", None, None), {"steps": 5, "entropy_weight": 0.5, "optimizer": "shared-rmsprop"}
    )
    assert experiment.steps == 5
    assert experiment.algorithm.entropy_weight == 0.5  # type: ignore[attr-defined]
    assert experiment.optimizer.optimizer == "shared-rmsprop"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "many"}, "steps"),
        ({"steps": -1}, "--steps must be positive"),
        ({"speed": 1}, "speed"),
        ({"network": {"memory": "elephant"}}, "memory"),
        ({"network": {"width": 3}}, "width"),
        ({"optimizer": 3}, "optimizer"),
        ({"algorithm": {"name": "a4c"}}, "unknown algorithm"),
        ({"algorithm": {}}, "does not name its algorithm"),
        ({"algorithm": {"name": "a3c", "discount": 2}}, "--discount"),
        ({"algorithm": None}, "'algorithm' should hold"),
    ],
)
def test_a_wrong_experiment_file_is_one_line(change: dict[str, object], message: str) -> None:
    data = {**to_dict(find_preset("tuned/catch").make("Catch-v0")), **change}
    with pytest.raises(UserError, match=message) as caught:
        from_dict(data)
    assert "\n" not in str(caught.value)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["environment", "algorithm", "network", "optimizer", "steps", "x"]), json_like))
def test_whatever_the_file_holds_it_is_an_experiment_or_one_error(data: dict[str, object]) -> None:
    with contextlib.suppress(UserError):
        from_dict(yaml.safe_load(yaml.safe_dump(data)))
