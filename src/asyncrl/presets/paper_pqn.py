"""The settings of PQN's authors, each number with its source.

Sources:

- [C] The configuration files for Atari and MinAtar in the authors' public code, purejaxql, and its networks.
- [E] The defaults of EnvPool, the library of environments that it uses on Atari.
- [R] The defaults of rectified Adam in the library of optimisers that it uses.
"""

from __future__ import annotations

from typing import Any

from asyncrl.algorithms.pqn import PQN
from asyncrl.config import Experiment
from asyncrl.presets.paper import is_atari
from asyncrl.settings import NetworkSettings, OptimizerSettings


def pqn_atari(environment: str, algorithm: str) -> Experiment:
    """PQN on Atari with the authors' settings (one worker with 128 environments, 10 million steps).

    Deviation: initial weights are orthogonal with the variance of the authors' normal distribution.
    """
    protocol: dict[str, Any] = {
        "environment_options": {
            "repeat_action_probability": 0.0,  # [C] actions are not sticky
            "use_fire_reset": True,  # [E]
            "noop_max": 30,  # [C]
        },
        "zero_discount_on_life_loss": True,  # [C] a lost life ends a training episode
    }
    return _paper(
        environment,
        NetworkSettings(torso="atari-2015", layer_norm=True, initialization="orthogonal"),  # [C]
        final_epsilon=0.001,  # [C]
        learning_rate=2.5e-4,  # [C]
        schedule="constant",  # [C]
        reward_clip=1.0,  # [C]
        **(protocol if is_atari(environment) else {}),
    )


def pqn_minatar(environment: str, algorithm: str) -> Experiment:
    """PQN on MinAtar with the authors' settings (one worker with 128 environments, 10 million steps).

    Deviation: initial weights are orthogonal with the variance of the authors' normal distribution.
    Deviation: the games are MinAtar's own, and not those of the library of environments that the authors use.
    """
    return _paper(
        environment,
        NetworkSettings(torso="minatar", layer_norm=True, initialization="orthogonal"),  # [C]
        final_epsilon=0.05,  # [C]
        learning_rate=5e-4,  # [C]
        schedule="linear",  # [C]
    )


def _paper(
    environment: str,
    network: NetworkSettings,
    *,
    final_epsilon: float,
    learning_rate: float,
    schedule: Any,
    **settings: Any,
) -> Experiment:
    return Experiment(
        environment,
        algorithm=PQN(
            rollout_length=32,  # [C]
            discount=0.99,  # [C]
            q_lambda=0.65,  # [C]
            epochs=2,  # [C]
            minibatches=32,  # [C]
            final_epsilons=(final_epsilon,),
            exploration_steps=1_000_000,  # [C] a tenth of the run
        ),
        network=network,
        optimizer=OptimizerSettings(
            optimizer="shared-radam",  # [C]
            learning_rate=learning_rate,
            schedule=schedule,
            decay=0.999,  # [R]
            epsilon=1e-8,  # [R]
            max_gradient_norm=10.0,  # [C]
        ),
        steps=10_000_000,  # [C]
        workers=1,  # [C]
        envs_per_worker=128,  # [C]
        **settings,
    )
