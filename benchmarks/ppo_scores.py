"""Trains PPO here and in Stable-Baselines3 with equal settings and for equally many steps, and compares the scores.

    peers/bin/python benchmarks/ppo_scores.py [CartPole-v1 LunarLander-v3] [--seeds 1 2 3] [--out FILE]

It needs a virtual environment with Stable-Baselines3 beside asyncrl; `python benchmarks/peers.py --help` says how to
make it. The settings are those of RL Baselines3 Zoo (https://github.com/DLR-RM/rl-baselines3-zoo,
hyperparams/ppo.yml), with constant rates and, for LunarLander, fewer steps. asyncrl has one worker, so that it is the
serial algorithm too. The final agents play 100 episodes with their most probable actions. Rows that the file has
already are not measured again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from child import run_script
from rows import read_rows, write_rows

EPISODES = 100
COLUMNS = ("environment", "package", "seed", "score", "steps_done", "seconds")


@dataclass(frozen=True)
class Settings:
    """What both packages are given."""

    steps: int
    environments: int
    rollout_length: int
    batch_size: int
    epochs: int
    discount: float
    gae_lambda: float
    learning_rate: float
    entropy_weight: float = 0.0
    clip_range: float = 0.2
    max_gradient_norm: float = 0.5
    value_weight: float = 0.5

    @property
    def minibatches(self) -> int:
        """Of each epoch."""
        return self.environments * self.rollout_length // self.batch_size


TASKS = {
    "CartPole-v1": Settings(100_000, 8, 32, 256, 20, 0.98, 0.8, 1e-3),
    "LunarLander-v3": Settings(300_000, 16, 1024, 64, 4, 0.999, 0.98, 3e-4, entropy_weight=0.01),
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ppo_scores.csv")
    given = parser.parse_args(arguments)
    rows = read_rows(given.out)
    done = {(row["environment"], row["package"], int(row["seed"])) for row in rows}
    for environment in given.environments:
        for seed in given.seeds:
            for package, train in (("asyncrl", with_asyncrl), ("Stable-Baselines3", with_stable_baselines)):
                if (environment, package, seed) in done:
                    continue
                began = time.perf_counter()
                score, steps = train(environment, TASKS[environment], seed)
                seconds = round(time.perf_counter() - began, 1)
                rows.append(
                    dict(zip(COLUMNS, (environment, package, seed, round(score, 2), steps, seconds), strict=True))
                )
                print(f"{environment}, {package}, seed {seed}: {score:.4g} after {steps:,} steps", flush=True)
                write_rows(given.out, rows)


def with_asyncrl(environment: str, settings: Settings, seed: int) -> tuple[float, int]:
    """The score and the number of steps of a run here."""
    import asyncrl

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        result = asyncrl.train(
            environment,
            algorithm="ppo",
            run_dir=run,
            quiet=True,
            seed=seed,
            workers=1,
            steps=settings.steps,
            until_return=None,
            envs_per_worker=settings.environments,
            rollout_length=settings.rollout_length,
            minibatches=settings.minibatches,
            epochs=settings.epochs,
            discount=settings.discount,
            gae_lambda=settings.gae_lambda,
            learning_rate=settings.learning_rate,
            schedule="constant",
            optimizer="shared-adam",
            epsilon=1e-5,
            entropy_weight=settings.entropy_weight,
            clip_range=settings.clip_range,
            max_gradient_norm=settings.max_gradient_norm,
            value_weight=settings.value_weight,
            hidden=(64, 64),
            activation="tanh",
            initialization="orthogonal",
            separate=True,
            normalize_observations=False,
            normalize_rewards=False,
            reward_scale=1.0,
            exploration_persistence=0.0,
        )
        evaluation = asyncrl.load(run).evaluate(EPISODES, deterministic=True, seed=10_000 + seed)
    return evaluation.return_mean, int(result.summary["steps"])


def with_stable_baselines(environment: str, settings: Settings, seed: int) -> tuple[float, int]:
    """The same there, where policy and value have networks of 64 and 64 units by default."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        make_vec_env(environment, settings.environments, seed=seed),
        n_steps=settings.rollout_length,
        batch_size=settings.batch_size,
        n_epochs=settings.epochs,
        gamma=settings.discount,
        gae_lambda=settings.gae_lambda,
        learning_rate=settings.learning_rate,
        ent_coef=settings.entropy_weight,
        clip_range=settings.clip_range,
        max_grad_norm=settings.max_gradient_norm,
        vf_coef=settings.value_weight,
        device="cpu",
        seed=seed,
    )
    model.learn(settings.steps)
    games = make_vec_env(environment, 8, seed=10_000 + seed)
    score, _ = evaluate_policy(model, games, EPISODES, deterministic=True, warn=False)
    return float(score), int(model.num_timesteps)


if __name__ == "__main__":
    run_script(main)
