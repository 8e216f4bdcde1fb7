"""The settings of the papers, each number with its source.

Sources: [P] Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", arXiv 1602.01783v2.
[E] The authors' answers to questions about it, as quoted in public talks on A3C. [N] Mnih et al. 2015, "Human-level
control through deep reinforcement learning".
"""

from asyncrl.algorithms.a3c import A3C
from asyncrl.config import Experiment, NetworkSettings, OptimizerSettings


def a3c_ff(environment: str) -> Experiment:
    """A3C, feed-forward, as in the 57-game Atari runs of 2016 (16 workers, 80 million steps, one day)."""
    return _a3c(environment, "none")


def a3c_lstm(environment: str) -> Experiment:
    """A3C with 256 LSTM cells, as in the 57-game Atari runs of 2016 (16 workers)."""
    return _a3c(environment, "lstm")


def _a3c(environment: str, memory: str) -> Experiment:
    return Experiment(
        environment,
        algorithm=A3C(
            rollout_length=20,  # [E] t_max in the 57-game runs; [P] Supplement 8 has 5 for the smaller study
            discount=0.99,  # [P] Supplement 8
            entropy_weight=0.01,  # [P] Supplement 8, all Atari games
            value_weight=0.5,  # [E] the value gradient is halved, which is this weight on (R - V)²
        ),
        network=NetworkSettings(
            torso="atari-2015",  # [P] §5.1, the network of [N]
            memory="lstm" if memory == "lstm" else "none",
            memory_size=256,  # [P] §5.1
            initialization="torch",  # [E] Torch's default
        ),
        optimizer=OptimizerSettings(
            optimizer="shared-rmsprop",  # [P] §4
            learning_rate=7e-4,  # [E]
            schedule="linear",  # [P] Supplement 8, to zero
            decay=0.99,  # [P] Supplement 8, α
            epsilon=0.1,  # [E] inside the root
            max_gradient_norm=40.0,  # [E]
        ),
        # [N] no sticky actions; Deviation: [N] also ends training episodes where a life is lost, here they go on.
        environment_options={"repeat_action_probability": 0.0} if environment.startswith("ALE/") else {},
        reward_clip=1.0,  # [N], [E]
        steps=80_000_000,  # [E] 320 million emulator frames
        workers=16,  # [P] §5
        envs_per_worker=1,
        episode_rollouts=True,  # [P] Algorithm S3
    )
