"""With a bonus for new states, an agent finds what random actions would not find."""

from __future__ import annotations

from pathlib import Path

import tests.environments  # noqa: F401  (the environment)
from asyncrl.api import train


def test_a_state_at_the_end_of_a_long_way_is_found(tmp_path: Path) -> None:
    # 19 right actions in a row lead there: one episode in 500,000 by random actions, and this run has 2,000
    result = train(
        "tests.environments:Deep",
        algorithm="a3c",
        environment_options={"states": 20},
        exploration_bonus="hash",
        bonus_scale=0.1,
        hidden=(32,),
        learning_rate=5e-3,
        entropy_weight=0.001,
        normalize_rewards=False,
        reward_scale=1.0,
        rollout_length=12,
        envs_per_worker=16,
        runtime="serial",
        workers=1,
        steps=40_000,
        until_return=None,
        quiet=True,
        run_dir=tmp_path / "run",
    )
    assert result.load().evaluate(5, deterministic=True).return_mean == 1.0
