"""Small experiments for tests."""

from __future__ import annotations

from typing import Any

from asyncrl.config import Experiment
from asyncrl.resolution import resolve, starting_point


def small(environment: str = "Catch-v0", algorithm: str | None = None, **settings: Any) -> Experiment:
    """A short serial experiment with one worker; the settings replace any of its own, each by its name."""
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
    return resolve(starting_point(environment, None, algorithm), {**defaults, **settings})
