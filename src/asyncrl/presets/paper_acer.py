"""The settings of ACER's paper, each number with its source.

Sources, beside those of `asyncrl.presets.paper`:

- [A] Wang et al. 2017, "Sample Efficient Actor-Critic with Experience Replay".
- [B] The defaults of ACER in OpenAI Baselines.
- [C] The example for continuous actions in ChainerRL, train_acer_gym.py.
"""

from __future__ import annotations

from asyncrl.algorithms.acer import ACER
from asyncrl.config import Experiment
from asyncrl.presets.paper import atari_protocol
from asyncrl.settings import NetworkSettings, OptimizerSettings

WORKERS = 16  # [M] of [A]


def acer_atari(environment: str, algorithm: str) -> Experiment:
    """ACER on Atari with 4 replayed steps for each step taken (16 workers, 80 million steps).

    Deviation: rollouts go on where an episode or a life ends.
    """
    return Experiment(
        environment,
        algorithm=ACER(
            rollout_length=20,  # [B]; [M] of [A]
            discount=0.99,  # [B]; [M] of [A]
            entropy_weight=1e-3,  # [M] of [A]; [B] has 0.01
            value_weight=0.5,  # [A] half the squared error; [B]
            truncation=10.0,  # [B]; [M] of [A]
            trust_region_limit=1.0,  # [B]; [M] of [A]
            average_decay=0.99,  # [B]; [M] of [A]
            replay_ratio=4.0,  # [A] §4, one of several; [B]
            replay_capacity=50_000 * WORKERS,  # [M] of [A]: 50,000 frames of each worker
            replay_start=10_000,  # [B]
        ),
        network=NetworkSettings(torso="atari-2015"),  # [M] of [A], the network of [N]
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [A] as A3C
            learning_rate=7e-4,  # [B]; [M] of [A]: drawn from a range
            schedule="linear",  # [B]
            decay=0.99,  # [B]
            epsilon=0.1,  # [E] of A3C's runs; [?] here
            max_gradient_norm=40.0,  # [E] of A3C's runs; [?] here
        ),
        steps=80_000_000,  # [B]
        **{**atari_protocol(environment), "workers": WORKERS, "episode_rollouts": False},
    )


def acer_continuous(environment: str, algorithm: str) -> Experiment:
    """ACER with stochastic dueling networks for continuous actions (16 workers, 80 million steps).

    Deviation: the variance of the policy is learned, and depends on the state. The paper's is fixed [M].
    """
    return Experiment(
        environment,
        algorithm=ACER(
            rollout_length=50,  # [C]; [M] of [A]
            discount=0.99,  # [C]; [M] of [A]: 0.995
            entropy_weight=1e-2,  # [C]
            value_weight=0.5,  # [A] half the squared error; [C]
            truncation=5.0,  # [C]; [M] of [A]
            trust_region_limit=0.1,  # [C]; [M] of [A]: drawn from [0.1, 2]
            average_decay=0.99,  # [C]; [M] of [A]: 0.995
            dueling_samples=5,  # [C]; [M] of [A]
            replay_ratio=4.0,  # [C]; [M] of [A]
            replay_capacity=5_000 * WORKERS,  # [C] 5,000 steps of each worker; [M] of [A]
            replay_start=1_000 * WORKERS,  # [C] 1,000 steps of each worker
        ),
        network=NetworkSettings(hidden=(100, 100), separate=True),  # [C]
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [A] as A3C
            learning_rate=7e-4,  # [C]; [M] of [A]: drawn from a range
            schedule="constant",  # [C]
            decay=0.99,  # [C]
            epsilon=25.0,  # [C] 1e-2 for gradients that are averaged over 50 steps; here they are summed
            max_gradient_norm=40.0 * 50,  # [C] 40 for averaged gradients
        ),
        reward_scale=1e-2,  # [C]
        steps=80_000_000,  # [C]
        workers=WORKERS,
        envs_per_worker=1,  # [A] Algorithm 1
    )
