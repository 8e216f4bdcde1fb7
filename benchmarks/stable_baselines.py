"""Measures the training speed of Stable-Baselines3; `benchmarks/peers.py` starts it as a process of its own.

python benchmarks/stable_baselines.py ALGORITHM ENV SECONDS VECTOR THREADS ENVIRONMENTS

Prints steps per second. Atari games get the preprocessing of that package.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import ale_py
import gymnasium

import asyncrl.envs  # noqa: F401  (registers Catch)

gymnasium.register_envs(ale_py)  # here, because the processes that step environments import this file too
WARM_UP = 2.0
"""Seconds of training before the measurement starts."""
LEARNS_AFTER = 2_000
"""Steps before the measurement starts; DQN learns from then on."""


def main() -> None:
    algorithm, environment, seconds, vector, threads, number = sys.argv[1:]

    import torch
    from stable_baselines3 import A2C, DQN, PPO
    from stable_baselines3.common.callbacks import BaseCallback

    class Clock(BaseCallback):  # type: ignore[misc]
        """Counts the steps between the end of the warm-up and the end."""

        started, began, steps_before, speed = time.perf_counter(), 0.0, 0, 0.0

        def _on_rollout_start(self) -> None:  # after whole rollouts and updates
            now = time.perf_counter()
            if not self.began and self.num_timesteps > LEARNS_AFTER and now - self.started > WARM_UP:
                self.began, self.steps_before = now, self.num_timesteps
            elif self.began and now - self.began > float(seconds):
                self.speed = (self.num_timesteps - self.steps_before) / (now - self.began)
                raise StopIteration

        def _on_step(self) -> bool:
            return True

    torch.set_num_threads(int(threads))
    environments, policy = make_environments(environment, int(number), vector)
    if algorithm == "a2c":
        model: Any = A2C(policy, environments, device="cpu", seed=0)
    elif algorithm == "dqn":  # 32 replayed steps after every 4 steps of an environment, as in the paper
        model = DQN(
            policy,
            environments,
            buffer_size=200_000,
            learning_starts=LEARNS_AFTER,
            batch_size=32,
            train_freq=4,
            gradient_steps=int(number),
            target_update_interval=10_000,
            optimize_memory_usage=True,
            replay_buffer_kwargs={"handle_timeout_termination": False},  # which excludes the smaller memory
            device="cpu",
            seed=0,
        )
    else:  # the settings for Atari in its collection of tuned settings
        model = PPO(policy, environments, n_steps=128, n_epochs=4, batch_size=256, device="cpu", seed=0)
    clock = Clock()
    try:
        model.learn(10**9, callback=clock)
    except StopIteration:
        print(clock.speed)
    environments.close()


def make_environments(environment: str, number: int, vector: str, seed: int = 0) -> tuple[Any, str]:
    """A vector of environments and the policy for them. Atari games have sticky actions, as in Gymnasium's -v5."""
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

    kind = SubprocVecEnv if vector == "subprocess" else DummyVecEnv
    if not environment.startswith("ALE/"):
        return make_vec_env(environment, number, seed=seed, vec_env_cls=kind), "MlpPolicy"
    unskipped = {"frameskip": 1, "repeat_action_probability": 0.25}  # the wrapper skips 4 frames
    made = make_atari_env(environment, number, seed=seed, vec_env_cls=kind, env_kwargs=unskipped)
    return VecFrameStack(made, 4), "CnnPolicy"


if __name__ == "__main__":
    main()
