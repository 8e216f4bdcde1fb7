"""The settings of the papers, each number with its source.

Sources:

- [P] Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", arXiv 1602.01783v2.
- [E] The authors' answers to questions about its 57-game runs, as quoted in public talks on A3C.
- [N] Mnih et al. 2015, "Human-level control through deep reinforcement learning".
- [D13] Mnih et al. 2013, "Playing Atari with Deep Reinforcement Learning".
- [H] van Hasselt et al. 2016, "Deep Reinforcement Learning with Double Q-learning".
- [W] Wang et al. 2016, "Dueling Network Architectures for Deep Reinforcement Learning".
- [S] Schaul et al. 2016, "Prioritized Experience Replay".
- [Z] The settings in DeepMind's public reimplementation of these agents, dqn_zoo.
- [M] Said of the paper from memory, not verified in a source that could be read.
- [?] Not found in a source that could be read: an assumption.
"""

from __future__ import annotations

from typing import Any

from asyncrl.algorithms import VALUE_BASED
from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.dqn import DQN
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
        **atari_protocol(environment),
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
        **atari_protocol(environment),
    )


def is_atari(environment: str) -> bool:
    """Whether an environment's id is that of an Atari game."""
    name = environment.rpartition(":")[2]
    return name.startswith("ALE/") or "NoFrameskip-v" in name


def atari_protocol(environment: str) -> dict[str, Any]:
    """Settings of experiments in which agents play Atari games as the papers' agents do."""
    protocol: dict[str, Any] = {
        "environment_options": {
            "repeat_action_probability": 0.0,  # [N] actions are not sticky
            "use_fire_reset": False,  # [N] an episode begins with up to 30 no-ops; [M] and no fire action
        },
        "zero_discount_on_life_loss": True,  # [N] a lost life ends a training episode
    }
    return {
        **(protocol if is_atari(environment) else {}),
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


def dqn_2013(environment: str, algorithm: str) -> Experiment:
    """DQN of 2013 on Atari: the small network, and no target network (one worker, 10 million steps).

    Deviation: the target network is copied after each round of learning, which stands for the parameters before it.
    Deviation: the optimiser is that of 2015, because the paper names only RMSProp.
    """
    return _dqn(
        environment,
        NetworkSettings(torso="atari-2013"),  # [D13] §4.1
        target_interval=4,  # [D13] none: targets come from the parameters before the update
        steps=10_000_000,  # [D13] §5
        error="squared",  # [D13] eq. 2
    )


def dqn_2015(environment: str, algorithm: str) -> Experiment:
    """DQN of 2015 on Atari (one worker, 50 million steps)."""
    return _dqn(environment, NetworkSettings(torso="atari-2015"))  # [N]


def double_dqn(environment: str, algorithm: str) -> Experiment:
    """Double DQN on Atari, with the settings that were tuned for it (one worker, 50 million steps).

    Deviation: each action has a bias of its own in the last layer, where the paper's tuned network has one for all [M].
    """
    return _dqn(environment, NetworkSettings(torso="atari-2015"), **TUNED_DOUBLE)


def dueling(environment: str, algorithm: str) -> Experiment:
    """Double DQN with a dueling network on Atari (one worker, 50 million steps).

    Deviation: the gradient that enters the convolutions is not scaled by 1/√2 [M].
    """
    # [W] the settings of [H], a smaller learning rate, and gradients clipped to a norm of 10 [M]
    return _dqn(
        environment,
        NetworkSettings(torso="atari-2015"),
        learning_rate=6.25e-5,
        max_gradient_norm=10.0,
        dueling=True,
        **TUNED_DOUBLE,
    )


def prioritized(environment: str, algorithm: str) -> Experiment:
    """Double DQN with proportional prioritized replay on Atari (one worker, 50 million steps)."""
    return _dqn(
        environment,
        NetworkSettings(torso="atari-2015"),
        learning_rate=2.5e-4 / 4,  # [S] §4; [Z]
        epsilon=0.01 / 32**2 / 4**2,  # [Z] keeps the largest step
        prioritized="proportional",
        priority_exponent=0.6,  # [S] Table 3 (proportional)
        importance_exponent=0.4,  # [S] Table 3 (proportional)
        **TUNED_DOUBLE,
    )


TUNED_DOUBLE: dict[str, Any] = {
    "double": True,
    "target_interval": 30_000,  # [H] tuned; [Z]
    "final_epsilons": (0.01,),  # [H] tuned; [Z]
}


def _dqn(
    environment: str,
    network: NetworkSettings,
    *,
    learning_rate: float = 2.5e-4,  # [N]
    epsilon: float = 0.01 / 32**2,  # [N] 0.01 for gradients that are summed over 32 steps; here they are averaged
    max_gradient_norm: float = 1e9,  # [N] errors are clipped, not gradients
    steps: int = 50_000_000,  # [N] 200 million emulator frames
    **changes: Any,
) -> Experiment:
    settings: dict[str, Any] = {
        "rollout_length": 4,  # [N] steps between two updates
        "discount": 0.99,  # [N]
        "target_interval": 10_000,  # [N]; in steps, as in [Z]
        "final_epsilons": (0.1,),  # [N]
        "exploration_steps": 1_000_000,  # [N]
        "replay_capacity": 1_000_000,  # [N]
        "replay_start": 50_000,  # [N]
        "replay_ratio": 8.0,  # [N] 32 steps learned after every 4 steps
        "batch_size": 32,  # [N]
        "error": "huber",  # [N] errors clipped to [-1, 1]
    }
    return Experiment(
        environment,
        algorithm=DQN(**{**settings, **changes}),
        network=network,
        optimizer=OptimizerSettings(
            optimizer="centred-rmsprop",  # [N]; [Z]
            learning_rate=learning_rate,
            schedule="constant",  # [N]
            decay=0.95,  # [N] of both averages
            epsilon=epsilon,
            max_gradient_norm=max_gradient_norm,
        ),
        steps=steps,
        **{**atari_protocol(environment), "workers": 1, "episode_rollouts": False},  # [N] one environment
    )
