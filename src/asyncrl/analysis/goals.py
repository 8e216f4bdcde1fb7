"""What returns mean in environments that many people know: when they count as solved, and what no success gives."""

from __future__ import annotations

from fnmatch import fnmatchcase

import gymnasium

import asyncrl.envs  # noqa: F401  (registers the built-in environments)

SOLVED = {
    "Blackjack-*": -0.06,  # the best policy loses 0.045 a game
    "CliffWalking-*": -13.0,  # the shortest way
    "CliffWalkingSlippery-*": -60.0,
    "Humanoid-*": 5000.0,
    "MiniGrid-*": 0.9,
    "Pendulum-*": -200.0,
    "Walker2d-*": 4000.0,
}
"""The mean return at which an environment counts as solved, for environments whose registration does not say."""
UNREWARDED = {
    "Acrobot-*": -500.0,
    "FrozenLake*": 0.0,
    "MiniGrid-*": 0.0,
    "MountainCar-*": -200.0,
    "MountainCarContinuous-*": 0.0,
}
"""The highest return of an episode in which the agent never reached the only thing that is rewarded."""


def known_goal(environment: str) -> float | None:
    """The mean return at which an environment counts as solved: its `reward_threshold`, or else a known number.

    Args:
        environment: Gymnasium id. Environments that are not registered yet are not imported.
    """
    spec = gymnasium.registry.get(environment)
    if spec is not None and spec.reward_threshold is not None:
        return float(spec.reward_threshold)
    return _lookup(SOLVED, environment)


def unrewarded_return(environment: str) -> float | None:
    """The highest return of an episode without any success; None if that is not known."""
    return _lookup(UNREWARDED, environment)


def _lookup(table: dict[str, float], environment: str) -> float | None:
    return next((value for pattern, value in table.items() if fnmatchcase(environment, pattern)), None)
