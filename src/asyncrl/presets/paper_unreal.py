"""The settings of UNREAL's paper, each number with its source.

Sources, beside those of `asyncrl.presets.paper`:

- [U] Jaderberg et al. 2017, "Reinforcement Learning with Unsupervised Auxiliary Tasks".
- [R] UNREAL in the public code of K. Miyoshi, unreal, as far as it names a number.
"""

from __future__ import annotations

from asyncrl.algorithms.unreal import Unreal
from asyncrl.config import Experiment
from asyncrl.presets.paper import atari_protocol, is_atari
from asyncrl.settings import NetworkSettings, OptimizerSettings


def unreal(environment: str, algorithm: str) -> Experiment:
    """UNREAL on mazes and on Atari: A3C with an LSTM, pixel control, reward prediction and value replay (32 workers).

    Deviation: rollouts go on where an episode or a life ends.
    Deviation: the paper draws learning rate, entropy weight and the weight of pixel control for each run, and reports
    the best runs. Here only the learning rate is drawn.
    """
    return Experiment(
        environment,
        algorithm=Unreal(
            rollout_length=20,  # [U]; [R]
            discount=0.99,  # [R]; [M] of [U]
            entropy_weight=0.001,  # [R]; drawn from 5e-4 to 1e-2 in [U] [M]
            value_weight=0.5,  # [E] of A3C's runs
            pixel_control=0.001 if is_atari(environment) else 0.05,  # [R] of mazes; amid its 1e-4 to 1e-2 of Atari
            reward_prediction=1.0,  # [M] of [U]
            value_replay=1.0,  # [M] of [U]
            auxiliary_steps=2_000,  # [R]; [M] of [U]
        ),
        network=NetworkSettings(
            torso="atari-2013",  # [M] of [U]: the network of [P], Supplement 8
            memory="lstm",  # [U]
            memory_size=256,  # [M] of [U]
            last_action_reward=True,  # [M] of [U]
        ),
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [M] of [U]
            learning_rate_range=(1e-4, 5e-3),  # [R]; [M] of [U]
            schedule="linear",  # [?] as in [P]
            decay=0.99,  # [R]
            epsilon=0.1,  # [R]
            max_gradient_norm=40.0,  # [R]
        ),
        steps=50_000_000 if is_atari(environment) else 25_000_000,  # [?]
        **{**atari_protocol(environment), "workers": 32, "episode_rollouts": False},  # [M] of [U]
    )
