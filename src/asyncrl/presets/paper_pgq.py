"""The settings of PGQ's paper, each number with its source.

Sources, beside those of `asyncrl.presets.paper`:

- [O] O'Donoghue et al. 2017, "Combining policy gradient and Q-learning". Its Atari agent is A3C with the settings of
  [P], and Q-learning from replay is all that was added [M].
- [T] PGQ in the public code of S. Kapturowski, tensorflow-rl, as far as it names a number.
"""

from __future__ import annotations

from asyncrl.algorithms.pgq import PGQ
from asyncrl.config import Experiment
from asyncrl.presets.paper import atari_protocol
from asyncrl.settings import NetworkSettings, OptimizerSettings

WORKERS = 16  # [P] §5; [M] of [O]


def pgq_atari(environment: str, algorithm: str) -> Experiment:
    """PGQ on Atari, with one minibatch of replayed steps after each rollout (16 workers, 50 million steps).

    Deviation: rollouts go on where an episode or a life ends.
    Deviation: a replayed step has half the weight of a step of the rollout. The paper's Q-learning has half the
    learning rate [M], and how it averages over a minibatch is not known.
    """
    rollout_length, batch_size = 5, 32  # [P] Supplement 8, t_max; [T] and [M] of [O]
    return Experiment(
        environment,
        algorithm=PGQ(
            rollout_length=rollout_length,
            discount=0.99,  # [P] Supplement 8
            entropy_weight=0.01,  # [P] Supplement 8
            value_weight=0.5,  # [E] of A3C's runs
            q_learning_weight=1 / 3,  # [T] and [M] of [O]: half as much as the actor-critic
            replay_ratio=batch_size / rollout_length,  # [T] and [M] of [O]: one minibatch after each rollout
            batch_size=batch_size,
            replay_capacity=100_000 * WORKERS,  # [M] of [O]: the last 100,000 steps of each worker; [T] has 20,000
            replay_start=10_000 * WORKERS,  # [T] a tenth of the capacity
        ),
        network=NetworkSettings(torso="atari-2015"),  # [P] §5.1; [?] here
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [P] §4
            learning_rate=7e-4,  # [E] of A3C's runs
            schedule="linear",  # [P] Supplement 8, to zero
            decay=0.99,  # [P] Supplement 8, α
            epsilon=0.1,  # [E] of A3C's runs
            max_gradient_norm=40.0,  # [E] of A3C's runs
        ),
        steps=50_000_000,  # [M] of [O]: 200 million emulator frames
        **{**atari_protocol(environment), "workers": WORKERS, "episode_rollouts": False},
    )
