"""Steps per second of Stable-Baselines3; run by the Python of a virtual environment that has it, not by ours.

    python sb3_peer.py ALGORITHM ENVIRONMENT SECONDS VECTOR THREADS ENVIRONMENTS

Prints one number. Atari games get the preprocessing of that package.
"""

import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import ale_py
import gymnasium

# here, for the processes that step environments import this file too
gymnasium.register_envs(ale_py)
sys.modules["asyncrl"] = package = ModuleType("asyncrl")  # it is not installed there, but Catch is wanted
package.__path__ = [str(Path(__file__).parents[1])]
import_module("asyncrl.envs")


def main() -> None:
    """Trains for some seconds after a warm-up and prints the speed."""
    algorithm, environment, seconds, vector, threads, number = sys.argv[1:]

    import torch
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

    torch.set_num_threads(int(threads))
    kind = SubprocVecEnv if vector == "subprocess" else DummyVecEnv
    if environment.startswith("ALE/"):
        unskipped = {"frameskip": 1, "repeat_action_probability": 0.25}  # the wrapper skips 4
        made = make_atari_env(environment, int(number), seed=0, vec_env_cls=kind, env_kwargs=unskipped)
        environments: Any = VecFrameStack(made, 4)
        policy = "CnnPolicy"
    else:
        environments, policy = make_vec_env(environment, int(number), seed=0, vec_env_cls=kind), "MlpPolicy"

    class Clock(BaseCallback):  # type: ignore[misc]
        """Counts steps between the end of the warm-up and the end."""

        began, steps_before = 0.0, 0

        def _on_rollout_start(self) -> None:
            now = time.perf_counter()
            if not self.began and self.num_timesteps > 0 and now - started > 2:  # after whole rollouts and updates
                self.began, self.steps_before = now, self.num_timesteps
            elif self.began and now - self.began > float(seconds):
                self.speed = (self.num_timesteps - self.steps_before) / (now - self.began)
                raise StopIteration

        def _on_step(self) -> bool:
            return True

    if algorithm == "a2c":
        model: Any = A2C(policy, environments, device="cpu", seed=0)
    else:  # as tuned for Atari in its collection of settings
        model = PPO(policy, environments, n_steps=128, n_epochs=4, batch_size=256, device="cpu", seed=0)
    clock, started = Clock(), time.perf_counter()
    try:
        model.learn(10**9, callback=clock)
    except StopIteration:
        print(clock.speed)
    environments.close()


if __name__ == "__main__":
    main()
