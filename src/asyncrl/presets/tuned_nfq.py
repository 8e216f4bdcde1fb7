"""NFQ's settings for the tuned presets: one worker, and several fits after each episode.

Policies differ much from one fit to the next, so the agent of classic control is evaluated often, and a run ends when
an evaluation reaches the goal. Workers that take turns in one process wait for these evaluations, so that the agent
that is evaluated is the newest.
"""

from __future__ import annotations

from asyncrl.algorithms.nfq import NFQ
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings, SupervisionSettings

RPROP = OptimizerSettings(optimizer="rprop", learning_rate=0.01, schedule="constant")


def catch(environment: str) -> Experiment:
    """Catch: every rollout has eight games."""
    return Experiment(
        environment,
        algorithm=NFQ(
            rollout_length=10,
            discount=0.95,
            epochs=30,
            replay_capacity=4_000,
            replay_start=400,
            final_epsilons=(0.0,),
            exploration_steps=3_000,
        ),
        network=NetworkSettings(hidden=(32,), activation="tanh", initialization="orthogonal"),
        optimizer=RPROP,
        steps=4_000,
        workers=1,
        envs_per_worker=8,
    )


def cartpole(environment: str) -> Experiment:
    """CartPole-v1: fits after each episode."""
    return _classic_control(environment, rollout_length=500, until_return=475.0)


def acrobot(environment: str) -> Experiment:
    """Acrobot-v1: fits after every 100 steps, because its episodes are long at first."""
    return _classic_control(
        environment,
        rollout_length=100,
        iterations=4,
        epochs=50,
        exploration_steps=1_500,
        until_return=-100.0,
        eval_every=500,
        eval_episodes=30,
    )


def _classic_control(
    environment: str,
    *,
    rollout_length: int,
    until_return: float,
    iterations: int = 8,
    epochs: int = 30,
    exploration_steps: int = 500,
    eval_every: int = 100,
    eval_episodes: int = 100,
) -> Experiment:
    """One environment, exploration at first alone, and rewards scaled so that values lie in [-1, 1]."""
    return Experiment(
        environment,
        algorithm=NFQ(
            rollout_length=rollout_length,
            discount=0.98,
            separate_actions=True,
            iterations=iterations,
            epochs=epochs,
            hint_to_goal="terminal",
            final_epsilons=(0.0,),
            exploration_steps=exploration_steps,
            replay_capacity=20_000,
            replay_start=100,
        ),
        network=NetworkSettings(hidden=(10, 10), activation="tanh", normalize_observations=True),
        optimizer=RPROP,
        supervision=SupervisionSettings(eval_every=eval_every, eval_episodes=eval_episodes),
        reward_scale=0.02,
        steps=20_000,
        until_return=until_return,
        workers=1,
        envs_per_worker=1,
        episode_rollouts=True,
        runtime="serial",
    )
