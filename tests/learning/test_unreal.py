"""UNREAL learns a small game, and its tasks learn what they are there for."""

from __future__ import annotations

import json
from pathlib import Path

from asyncrl.api import train


def test_a_small_game_of_catch_and_its_tasks(tmp_path: Path) -> None:
    result = train(
        "Catch",
        algorithm="unreal",
        environment_options={"rows": 6, "columns": 5},
        runtime="serial",
        workers=1,
        envs_per_worker=16,
        rollout_length=6,
        steps=40_000,
        until_return=None,
        quiet=True,
        run_dir=tmp_path / "run",
    )
    assert result.load().evaluate(200, deterministic=True).return_mean > 0.5  # chance is -0.6
    lines = [json.loads(line) for line in (result.run_dir / "metrics.jsonl").read_text("utf-8").splitlines()]
    first, last = (next(each for each in order if "pixel_control_loss" in each) for order in (lines, lines[::-1]))
    assert last["pixel_control_loss"] < 0.5 * first["pixel_control_loss"]
    assert last["reward_prediction_accuracy"] > 0.8  # 0.5 for a guess
