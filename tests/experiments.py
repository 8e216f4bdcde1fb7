"""Small experiments for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from asyncrl.algorithms.dqn import DQN
from asyncrl.config import Experiment
from asyncrl.resolution import resolve, starting_point

PLAIN: dict[str, Any] = {
    "normalize_observations": False,
    "separate": False,
    "reward_scale": 1.0,
    "max_gradient_norm": 0.5,
    "learning_rate": 1e-3,
    "exploration_persistence": 0.0,
}
"""Takes the place of what the default preset found for real tasks."""


def small(environment: str = "Catch-v0", algorithm: str | None = None, **settings: Any) -> Experiment:
    """A short serial experiment with one worker; the settings replace any of its own, each by its name."""
    defaults: dict[str, Any] = {
        "runtime": "serial",
        "workers": 1,
        "envs_per_worker": 4,
        "episode_rollouts": False,
        "rollout_length": 5,
        "steps": 400,
        "until_return": None,
        "hidden": (16,),
        "memory_size": 8,
    }
    start = starting_point(environment, None, algorithm or "a3c")
    if algorithm == "dqn":
        start = replace(start, algorithm=DQN())
    if start.preset == "tuned/default":
        defaults |= PLAIN
        if not hasattr(start.algorithm, "exploration_persistence"):  # an algorithm of the tests
            del defaults["exploration_persistence"]
    return resolve(start, {**defaults, **settings})
