"""Checkpoints: round trip, damage, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asyncrl.errors import UserError
from asyncrl.runtime.checkpoint import KEEP, Checkpoint, checkpoint_folders, load_newest, save_checkpoint


def save(folder: Path, steps: int) -> Path:
    return save_checkpoint(folder, Checkpoint({"parameters/w": torch.full((3,), float(steps))}, {"steps": steps}))


def test_round_trip_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    for steps in (5, 10, 200, 1000):
        save(tmp_path, steps)
    checkpoint, warnings = load_newest(tmp_path)
    assert checkpoint.tensors["parameters/w"].tolist() == [1000.0] * 3
    assert checkpoint.state["steps"] == 1000
    assert warnings == []
    assert len(checkpoint_folders(tmp_path)) == KEEP
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in checkpoint_folders(tmp_path)]


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["half", "empty", "gone", "noise"])
def test_a_damaged_checkpoint_is_named_and_an_older_one_used(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, 1)
    broken = save(tmp_path, 2) / name
    data = broken.read_bytes()
    match damage:
        case "half":
            broken.write_bytes(data[: len(data) // 2])
        case "empty":
            broken.write_bytes(b"")
        case "noise":
            broken.write_bytes(bytes(len(data)))
        case _:
            broken.unlink()
    checkpoint, warnings = load_newest(tmp_path)
    assert checkpoint.state["steps"] == 1
    assert len(warnings) == 1
    assert "step-000000000002" in warnings[0]
    assert "damaged" in warnings[0]


def test_no_whole_checkpoint_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint yet"):
        load_newest(tmp_path)
    (save(tmp_path, 1) / "tensors.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="damaged"):
        load_newest(tmp_path)


def test_an_older_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1) / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 1}))
    with pytest.raises(UserError, match="format 1, which this asyncrl no longer reads"):
        load_newest(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1) / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(UserError, match="format 99"):
        load_newest(tmp_path)
