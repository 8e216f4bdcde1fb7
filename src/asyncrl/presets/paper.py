"""The settings of the papers, each number with its source.

Sources:

- [P] Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", arXiv 1602.01783v2.
- [E] The authors' answers to questions about its 57-game runs, as quoted in public talks on A3C.
- [N] Mnih et al. 2015, "Human-level control through deep reinforcement learning".
- [M] Said of the paper from memory, not verified in a source that could be read.
- [?] Not found in a source that could be read: an assumption.
"""

from __future__ import annotations

from typing import Any

from asyncrl.algorithms import VALUE_BASED
from asyncrl.algorithms.a3c import A3C
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def atari_57_ff(environment: str, algorithm: str) -> Experiment:
    """A3C, feed-forward, as in the 57-game Atari runs of 2016 (16 workers, 80 million steps, one day).

    Deviation: a rollout does not end where a life is lost.
    """
    network = NetworkSettings(torso="atari-2015")  # [P] §5.1, the network of [N]
    return _atari_57(environment, network, steps=80_000_000)  # [E] 320 million emulator frames, "1 day"


def atari_57_lstm(environment: str, algorithm: str) -> Experiment:
    """A3C with 256 LSTM cells, as in the 57-game Atari runs of 2016 (16 workers, 250 million steps, four days).

    Deviation: a rollout does not end where a life is lost, and the recurrent state is not reset there.
    """
    network = NetworkSettings(torso="atari-2015", memory="lstm", memory_size=256)  # [P] §5.1
    return _atari_57(environment, network, steps=250_000_000)  # [E] 1,000 million emulator frames, "4 days"


def atari_study_ff(environment: str, algorithm: str) -> Experiment:
    """Each method, feed-forward, as in the paper's study of a few games (16 workers, 80 million steps).

    Deviation: a rollout does not end where a life is lost.
    """
    return _atari_study(environment, algorithm, NetworkSettings(torso="atari-2013"))  # [P] Supplement 8


def atari_study_lstm(environment: str, algorithm: str) -> Experiment:
    """Each method with 256 LSTM cells, other settings as in the paper's study of a few games (16 workers).

    Deviation: a rollout does not end where a life is lost, and the recurrent state is not reset there.
    """
    # [P] Supplement 8, the network without LSTM; §5.1, the LSTM of the 57-game runs
    return _atari_study(environment, algorithm, NetworkSettings(torso="atari-2013", memory="lstm", memory_size=256))


def mujoco_state(environment: str, algorithm: str) -> Experiment:
    """A3C with an LSTM on MuJoCo's state vectors, as in the paper's Supplement 9 (16 workers).

    Deviation: an episode that its time limit cuts off bootstraps from the value of its final observation, as everywhere
    in this package. The paper's updates never bootstrap [M].
    """
    return _mujoco(environment, NetworkSettings(hidden=(200,), memory="lstm", memory_size=128, separate=True))  # [P]


def mujoco_pixels(environment: str, algorithm: str) -> Experiment:
    """A3C with an LSTM on MuJoCo's pictures, as in the paper's Supplement 9 (16 workers).

    Deviation: an episode that its time limit cuts off bootstraps from the value of its final observation, as everywhere
    in this package. The paper's updates never bootstrap [M].
    Deviation: the paper's two convolutions have no non-linearity and no pooling [M]. Here they are those of the Atari
    study, each with a ReLU, and a fully-connected layer of 256 units follows before the LSTM.
    """
    # [P] two convolutions and 128 LSTM cells; [?] the sizes of the convolutions
    network = NetworkSettings(torso="atari-2013", memory="lstm", memory_size=128, separate=True)
    return _mujoco(environment, network, {"pixels": 84})  # [?]


def _atari_57(environment: str, network: NetworkSettings, steps: int) -> Experiment:
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
        steps=steps,
        **_atari(environment),
    )


def _atari_study(environment: str, algorithm: str, network: NetworkSettings) -> Experiment:
    return Experiment(
        environment,
        algorithm=(
            A3C(  # [P] Supplement 8; [E] the weight of the value, [?] in this study
                rollout_length=5, discount=0.99, entropy_weight=0.01, value_weight=0.5
            )
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
            epsilon=0.1,  # [E] inside the root; [?] in this study
            max_gradient_norm=40.0,  # [E]; [?] in this study
        ),
        steps=80_000_000,  # [P] 20 epochs of 4 million steps
        **_atari(environment),
    )


def _atari(environment: str) -> dict[str, Any]:
    name = environment.rpartition(":")[2]
    is_atari = name.startswith("ALE/") or "NoFrameskip-v" in name
    protocol: dict[str, Any] = {
        "environment_options": {
            "repeat_action_probability": 0.0,  # [N] actions are not sticky
            "use_fire_reset": False,  # [N] an episode begins with up to 30 no-ops; [M] and no fire action
        },
        "zero_discount_on_life_loss": True,  # [N] a lost life ends a training episode
    }
    return {
        **(protocol if is_atari else {}),
        "reward_clip": 1.0,  # [N], [E]
        "workers": 16,  # [P] §5
        "envs_per_worker": 1,  # [P] Algorithms 1, S2 and S3
        "episode_rollouts": True,  # [P] Algorithms 1, S2 and S3
    }


def _mujoco(environment: str, network: NetworkSettings, options: dict[str, Any] | None = None) -> Experiment:
    return Experiment(
        environment,
        algorithm=A3C(
            rollout_length=1000,  # [M] whole episodes; 1000 is Gymnasium's time limit
            discount=0.99,  # [?]
            entropy_weight=1e-4,  # [P] Supplement 9
            value_weight=0.5,  # [E] of the Atari runs; [?] here
        ),
        network=network,
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [P] §4
            learning_rate_range=(1e-5, 1e-1),  # [M] Supplement 9
            schedule="linear",  # [?] as in the Atari runs
            decay=0.99,  # [?] as in the Atari runs
            epsilon=0.1,  # [E] of the Atari runs; [?] here
            max_gradient_norm=40.0,  # [E] of the Atari runs; [?] here
        ),
        environment_options=options or {},
        steps=50_000_000,  # [?] the paper gives hours, not steps
        workers=16,  # [P] §5
        envs_per_worker=1,  # [P] Algorithm S3
        episode_rollouts=True,  # [M] Supplement 9
    )
