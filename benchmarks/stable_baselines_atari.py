"""Trains Stable-Baselines3 on an Atari game for some time, and plays whole games with the agent at the end.

python benchmarks/stable_baselines_atari.py ALGORITHM ENV SECONDS SEED EPISODES VECTOR THREADS

`benchmarks/atari.py` starts it as a process of its own. It prints one JSON object. The settings are those for Atari of
RL Baselines3 Zoo (https://github.com/DLR-RM/rl-baselines3-zoo, hyperparams/a2c.yml and hyperparams/ppo.yml), whose runs
have 10 million steps. Where a rate falls linearly there over the run, it falls here over the run's time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines import make_environments

ENVIRONMENTS = {"a2c": 16, "ppo": 8}
"""Number of environments in the zoo's settings."""
POINTS = 60
"""Points of the learning curve."""
NO_END = 10**9
"""More steps than a run can have: time ends it."""
EVALUATION_SEED = 10_000
"""Is added to a run's seed, so that evaluations have games of their own."""


def main() -> None:
    algorithm, environment, seconds, seed, episodes, vector, threads = sys.argv[1:]

    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.evaluation import evaluate_policy

    class Clock(BaseCallback):  # type: ignore[misc]
        """Ends training between two rollouts, and records the mean return of the last 100 games over time."""

        def __init__(self) -> None:
            super().__init__()
            self.started, self.curve = time.perf_counter(), list[tuple[float, int, float]]()

        @property
        def seconds(self) -> float:
            return time.perf_counter() - self.started

        def _on_training_start(self) -> None:
            self.started = time.perf_counter()

        def _on_rollout_start(self) -> None:
            games = [game["r"] for game in self.model.ep_info_buffer or ()]
            if games and self.seconds >= (len(self.curve) + 1) * float(seconds) / POINTS:
                self.curve.append((round(self.seconds, 1), self.num_timesteps, round(float(np.mean(games)), 3)))
            if self.seconds > float(seconds):
                raise StopIteration

        def _on_step(self) -> bool:
            return True

    def falling(start: float) -> Callable[[float], float]:
        return lambda _: start * max(0.0, 1 - clock.seconds / float(seconds))

    torch.set_num_threads(int(threads))
    number, clock = ENVIRONMENTS[algorithm], Clock()
    environments, policy = make_environments(environment, number, vector, int(seed))
    model = make_model(algorithm, policy, environments, falling, int(seed))
    try:
        model.learn(NO_END, callback=clock)
    except StopIteration:
        trained_for = clock.seconds
    environments.close()
    games, _ = make_environments(environment, number, vector, EVALUATION_SEED + int(seed))
    returns, _ = evaluate_policy(
        model, games, int(episodes), deterministic=False, return_episode_rewards=True, warn=False
    )  # lost lives do not end a game for it, and the rewards are unclipped
    games.close()
    result = {
        "steps": clock.num_timesteps,
        "seconds": round(trained_for, 1),
        "return_mean": float(np.mean(returns)),
        "return_std": float(np.std(returns)),
        "episodes": len(returns),
        "curve": clock.curve,
    }
    print(json.dumps(result))


def make_model(
    algorithm: str, policy: str, environments: Any, falling: Callable[[float], Callable[[float], float]], seed: int
) -> Any:
    """The zoo's model.

    Args:
        algorithm: a2c or ppo.
        policy: Name of the policy's class.
        environments: Vector of environments.
        falling: Makes a schedule that falls from a value to zero over the run.
        seed: Seed of the model.
    """
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    common: Any = {"ent_coef": 0.01, "seed": seed, "device": "cpu"}
    if algorithm == "a2c":
        optimizer = {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}
        return A2C(policy, environments, vf_coef=0.25, policy_kwargs=optimizer, **common)
    return PPO(
        policy,
        environments,
        n_steps=128,
        n_epochs=4,
        batch_size=256,
        learning_rate=falling(2.5e-4),
        clip_range=falling(0.1),
        vf_coef=0.5,
        **common,
    )


if __name__ == "__main__":
    main()
