"""Small experiments for tests."""

from __future__ import annotations

from typing import Any

from asyncrl.config import Experiment
from asyncrl.training import starting_point, with_settings


def small(environment: str = "Catch-v0", algorithm: str | None = None, **settings: Any) -> Experiment:
    """A short serial experiment with one worker; any setting can be replaced by its name."""
    experiment = starting_point(environment, None, algorithm)
    defaults: dict[str, Any] = {
        "runtime": "serial",
        "workers": 1,
        "envs_per_worker": 4,
        "rollout_length": 5,
        "steps": 400,
        "until_return": None,
        "hidden": (16,),
        "memory_size": 8,
    }
    return with_settings(experiment, {**defaults, **settings})
