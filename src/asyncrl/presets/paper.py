"""The settings of the papers, each number with its source.

Sources: [P] Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", arXiv 1602.01783v2.
[E] The authors' answers to questions about it, as quoted in public talks on A3C. [N] Mnih et al. 2015, "Human-level
control through deep reinforcement learning". [?] Not found in a source that could be read: an assumption.
"""

from __future__ import annotations

from typing import Any

from asyncrl.algorithms import VALUE_BASED
from asyncrl.algorithms.a3c import A3C
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def atari_57_ff(environment: str, algorithm: str) -> Experiment:
    """A3C, feed-forward, as in the 57-game Atari runs of 2016 (16 workers, 80 million steps, one day)."""
    return _atari_57(environment, NetworkSettings(torso="atari-2015"))  # [P] §5.1, the network of [N]


def atari_57_lstm(environment: str, algorithm: str) -> Experiment:
    """A3C with 256 LSTM cells, as in the 57-game Atari runs of 2016 (16 workers, 80 million steps)."""
    return _atari_57(environment, NetworkSettings(torso="atari-2015", memory="lstm", memory_size=256))  # [P] §5.1


def atari_study_ff(environment: str, algorithm: str) -> Experiment:
    """Each method, feed-forward, as in the paper's study of a few games (16 workers, 80 million steps)."""
    return _atari_study(environment, algorithm, NetworkSettings(torso="atari-2013"))  # [P] Supplement 8


def atari_study_lstm(environment: str, algorithm: str) -> Experiment:
    """Each method with 256 LSTM cells, other settings as in the paper's study of a few games (16 workers)."""
    return _atari_study(environment, algorithm, NetworkSettings(torso="atari-2013", memory="lstm", memory_size=256))


def mujoco_state(environment: str, algorithm: str) -> Experiment:
    """A3C with an LSTM on MuJoCo's state vectors, as in the paper's Supplement 9 (16 workers)."""
    return _mujoco(environment, NetworkSettings(hidden=(200,), memory="lstm", memory_size=128, separate=True))  # [P]


def mujoco_pixels(environment: str, algorithm: str) -> Experiment:
    """A3C with an LSTM on MuJoCo's pictures, as in the paper's Supplement 9 (16 workers)."""
    # [P] two convolutions and 128 LSTM cells; [?] their sizes: those of the Atari study
    network = NetworkSettings(torso="atari-2013", memory="lstm", memory_size=128, separate=True)
    return _mujoco(environment, network, {"pixels": 84})


def _atari_57(environment: str, network: NetworkSettings) -> Experiment:
    return Experiment(
        environment,
        algorithm=A3C(
            rollout_length=20,  # [E] t_max in the 57-game runs; [P] Supplement 8 has 5 for the smaller study
            discount=0.99,  # [P] Supplement 8
            entropy_weight=0.01,  # [P] Supplement 8, all Atari games
            value_weight=0.5,  # [E] the value gradient is halved, which is this weight on (R - V)²
        ),
        network=network,
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [P] §4
            learning_rate=7e-4,  # [E]
            schedule="linear",  # [P] Supplement 8, to zero
            decay=0.99,  # [P] Supplement 8, α
            epsilon=0.1,  # [E] inside the root
            max_gradient_norm=40.0,  # [E]
        ),
        **_atari(environment),
    )


def _atari_study(environment: str, algorithm: str, network: NetworkSettings) -> Experiment:
    return Experiment(
        environment,
        algorithm=(
            A3C(rollout_length=5, discount=0.99, entropy_weight=0.01, value_weight=0.5)  # [P] Supplement 8, [E]
            if algorithm == "a3c"
            else VALUE_BASED[algorithm](
                rollout_length=5,  # [P] Supplement 8: t_max = I_AsyncUpdate = 5
                discount=0.99,  # [P] Supplement 8
                target_interval=40_000,  # [P] Supplement 8, counted in steps of all workers
                final_epsilons=(0.1, 0.01, 0.5),  # [P] §5.1
                epsilon_probabilities=(0.4, 0.3, 0.3),  # [P] §5.1
                exploration_steps=4_000_000,  # [P] §5.1
            )
        ),
        network=network,
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [P] §4
            learning_rate_range=(1e-4, 1e-2),  # [P] Supplement 8: 50 draws for each game and method
            schedule="linear",  # [P] Supplement 8, to zero
            decay=0.99,  # [P] Supplement 8, α
            epsilon=0.1,  # [E] inside the root
            max_gradient_norm=40.0,  # [E]
        ),
        **_atari(environment),
    )


def _atari(environment: str) -> dict[str, Any]:
    return {
        # [N] no sticky actions; Deviation: [N] also ends training episodes where a life is lost, here they go on.
        "environment_options": {"repeat_action_probability": 0.0} if environment.startswith("ALE/") else {},
        "reward_clip": 1.0,  # [N], [E]
        "steps": 80_000_000,  # [E] 320 million emulator frames; [P] the study: 20 epochs of 4 million steps
        "workers": 16,  # [P] §5
        "envs_per_worker": 1,
        "episode_rollouts": True,  # [P] Algorithms 1, S2 and S3
    }


def _mujoco(environment: str, network: NetworkSettings, options: dict[str, Any] | None = None) -> Experiment:
    return Experiment(
        environment,
        algorithm=A3C(
            rollout_length=1000,  # [P] Supplement 9: whole episodes, no bootstrapping; 1000 is Gymnasium's limit
            discount=0.99,  # [?]
            entropy_weight=1e-4,  # [P] Supplement 9
            value_weight=0.5,  # [E]
        ),
        network=network,
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [P] §4
            learning_rate_range=(1e-5, 1e-1),  # [?] Supplement 9
            schedule="linear",
            decay=0.99,
            epsilon=0.1,  # [E]
            max_gradient_norm=40.0,  # [E]
        ),
        environment_options=options or {},
        steps=50_000_000,  # [?] the paper gives hours, not steps
        workers=16,  # [P] §5
        envs_per_worker=1,
        episode_rollouts=True,  # [P] Supplement 9
    )
