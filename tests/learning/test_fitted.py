"""NFQ reaches the truth of a small decision process, also with several workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.experiments import small
from tests.learning.test_learning import GAMMA
from tests.learning.test_replay import error_on_the_chain

SETTINGS: dict[str, Any] = {
    "envs_per_worker": 8,
    "rollout_length": 25,
    "final_epsilons": (1.0,),
    "discount": GAMMA,
    "optimizer": "rprop",
    "learning_rate": 0.01,
    "schedule": "constant",
    "epochs": 40,
    "hidden": (16,),
    "activation": "tanh",
    "initialization": "orthogonal",
}


@pytest.mark.parametrize(
    "variant", [{}, {"separate_actions": True, "iterations": 3, "rollout_length": 75}, {"workers": 2}]
)
def test_nfq_reaches_the_action_values_of_dynamic_programming(tmp_path: Path, variant: dict[str, Any]) -> None:
    experiment = small("test/SlipperyChain-v0", "nfq", steps=4_000, **{**SETTINGS, **variant})
    assert error_on_the_chain(experiment, tmp_path) < 0.05
