"""The settings of NFQ's paper, each number with its source.

Sources, beside the marks [M] and [?] of `asyncrl.presets.paper`:

- [R] Riedmiller 2005, "Neural Fitted Q Iteration", as its summaries describe it.
- [J] The settings for the paper's cart-pole regulator in a public reimplementation,
  seungjaeryanlee/implementations-nfq.
"""

from __future__ import annotations

from asyncrl.algorithms.nfq import NFQ
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def nfq(environment: str, algorithm: str) -> Experiment:
    """NFQ as on the paper's cart-pole regulator: greedy, with one fit after each episode (one worker).

    Deviation: the regulator's hints to the goal are left out, because they belong to that task. `--hint-to-goal` gives
    those of another one.
    Deviation: the last layer is linear. The paper's is sigmoid.
    """
    return Experiment(
        environment,
        algorithm=NFQ(
            rollout_length=100,  # [J] the longest training episode
            discount=0.95,  # [J]
            iterations=1,  # [M] one for each episode
            epochs=100,  # [?]
            final_epsilons=(0.0,),  # [J] greedy from the first step
            exploration_steps=1,
            replay_start=1,  # [J]
            replay_capacity=50_000,  # more than the run has steps: [R] all transitions are kept
        ),
        network=NetworkSettings(hidden=(5, 5), activation="sigmoid"),  # [R] two layers of 5 sigmoid units
        optimizer=OptimizerSettings(
            optimizer="rprop",  # [R] with the usual values of its parameters
            learning_rate=0.01,  # [J] the first step size
            schedule="constant",
        ),
        steps=50_000,  # [M] at most 500 episodes of 100 steps
        workers=1,  # [R]
        envs_per_worker=1,  # [R]
        episode_rollouts=True,  # [R] episodes are added as a whole
    )
