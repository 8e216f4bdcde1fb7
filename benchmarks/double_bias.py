"""Measures the overestimation of DQN beside Double DQN on a decision process whose true values are known, as a plot.

    python benchmarks/double_bias.py [--seeds 1 2 3] [--steps 30000] [--out benchmarks/results]

Ten states follow one another in a circle, and each of the ten actions leads to the next state. All rewards are drawn
from the standard normal distribution, whatever the state and the action, so every true value is 0. An episode ends with
probability 0.1 after each step. What max_a Q(s, a) exceeds 0 by is overestimation (van Hasselt et al. 2016).

The memory keeps all steps. A small one would make both methods overestimate alike: the two networks that Double DQN
chooses and values actions with would have learned the same rewards, and so the same noise.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import torch

import asyncrl
from asyncrl.runtime.checkpoint import checkpoint_folders, step_of

SIZE = 10
"""Number of states, and of actions."""
CONTINUES = 0.9
"""Probability that an episode goes on after a step."""
METHODS = {"DQN": False, "Double DQN": True}
COLOURS = {"DQN": "tab:orange", "Double DQN": "tab:blue"}


class Noise(gymnasium.Env[Any, Any]):
    """Rewards without any sense: all true values are 0."""

    observation_space = gymnasium.spaces.Discrete(SIZE)
    action_space = gymnasium.spaces.Discrete(SIZE)
    state = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(SIZE))
        return self.state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state = (self.state + 1) % SIZE
        ends = bool(self.np_random.random() > CONTINUES)
        return self.state, float(self.np_random.normal()), ends, False, {}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    given = parser.parse_args(arguments)
    rows = []
    for name, double in METHODS.items():
        for seed in given.seeds:
            found = overestimation(double, seed, given.steps)
            rows += [(name, seed, step, round(value, 4)) for step, value in found]
            print(f"{name}, seed {seed}: {found[-1][1]:.3f} after {found[-1][0]:,} steps", flush=True)
    with (given.out / "double_bias.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("method", "seed", "steps", "overestimation"), *rows])
    draw(rows, given.out / "double_bias.png")


def overestimation(double: bool, seed: int, steps: int) -> list[tuple[int, float]]:
    """Trains an agent and returns the mean of max_a Q(s, a) over all states at each of its checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        asyncrl.train(
            Noise,
            algorithm="dqn",
            double=double,
            runtime="serial",
            workers=1,
            envs_per_worker=4,
            steps=steps,
            seed=seed,
            multi_step=1,
            dueling=False,
            hidden=(32,),
            discount=0.95,
            learning_rate=1e-2,
            schedule="constant",
            max_gradient_norm=10.0,
            replay_start=500,
            replay_capacity=steps,
            target_interval=2_000,
            exploration_steps=1,
            exploration_persistence=0.0,
            final_epsilons=(1.0,),
            reward_scale=1.0,
            keep_every=steps // 20,
            run_dir=run,
            quiet=True,
        )
        found = []
        for checkpoint in checkpoint_folders(run / "checkpoints"):
            step = step_of(checkpoint)
            agent = asyncrl.load(run, checkpoint=step, modules=["double_bias"])
            states = torch.eye(SIZE).unsqueeze(0)
            with torch.no_grad():
                values = agent.network(states, (), torch.ones(1, SIZE, dtype=torch.bool))[0]["q"][0]
            found.append((step, float(values.amax(-1).mean())))
        return found


def draw(rows: list[tuple[str, int, int, float]], file: Path) -> None:
    """Draws the overestimation over steps: one line for each seed, and the mean of the seeds."""
    figure, axes = plt.subplots(figsize=(6, 3.5))
    for name in METHODS:
        seeds = sorted({seed for method, seed, _, _ in rows if method == name})
        curves = [[(step, value) for method, at, step, value in rows if (method, at) == (name, seed)] for seed in seeds]
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color=COLOURS[name], alpha=0.3, linewidth=1)
        mean = np.mean([[value for _, value in curve] for curve in curves], 0)
        axes.plot([step for step, _ in curves[0]], mean, color=COLOURS[name], linewidth=2, label=name)
    axes.axhline(0, color="black", linewidth=0.8, linestyle="--", label="true value")
    axes.set_xlabel("steps")
    axes.set_ylabel("mean of max Q(s, a)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main(sys.argv[1:])
