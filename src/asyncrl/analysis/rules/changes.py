"""Changes of settings that several rules advise."""

from __future__ import annotations

import math

from asyncrl import metrics
from asyncrl.analysis.history import History
from asyncrl.check import Advice, Direction
from asyncrl.presets import default_preset

MORE_ENVIRONMENTS = Advice("envs_per_worker", "higher", "more --envs-per-worker")
GUIDING_REWARDS = Advice("environment", "other", "rewards for steps towards the goal too, or an easier task at first")
CHECK_REWARDS = Advice(
    "environment",
    "other",
    "a look with 'asyncrl watch' whether the environment gives rewards; rewards for steps towards the goal too, or an "
    "easier task at first",
)
BEST_CHECKPOINT = Advice(
    "checkpoint", "other", "--checkpoint best of 'asyncrl eval' and 'asyncrl watch', which is the best agent of the run"
)


def unit_returns(history: History) -> tuple[Advice, ...]:
    """A scale of rewards that suits the returns, unless rewards are normalised."""
    return _scale(history, "other", "a --reward-scale that brings returns near 1, or --normalize-rewards")


def smaller_rewards(history: History) -> tuple[Advice, ...]:
    """A smaller scale of rewards, unless they are normalised."""
    return _scale(history, "lower", "a smaller --reward-scale")


def larger_rewards(history: History) -> tuple[Advice, ...]:
    """A larger scale of rewards, unless they are normalised."""
    return _scale(history, "higher", "a larger --reward-scale")


def lower_learning_rate(history: History) -> Advice:
    """A learning rate below the run's."""
    return Advice("learning_rate", "lower", f"a lower --learning-rate than {_learning_rate(history)}")


def higher_learning_rate(history: History) -> Advice:
    """A learning rate above the run's."""
    return Advice("learning_rate", "higher", f"a higher --learning-rate than {_learning_rate(history)}")


def other_learning_rate(history: History) -> Advice:
    """A learning rate that differs from the run's, where nothing tells in which direction."""
    return Advice("learning_rate", "other", f"another --learning-rate than {_learning_rate(history)}")


def falling_learning_rate(history: History) -> tuple[Advice, ...]:
    """A schedule that lets the learning rate fall, unless the run has it already."""
    if history.setting("schedule") == "linear":
        return ()
    return (Advice("schedule", "other", "--schedule linear, which lets the learning rate fall to zero"),)


def clipped_rewards(history: History) -> tuple[Advice, ...]:
    """Clipping of rewards, unless the run has it already."""
    return () if history.setting("reward_clip") else (Advice("reward_clip", "lower", "--reward-clip 1"),)


def normalized_observations(history: History) -> tuple[Advice, ...]:
    """Normalisation of observations, unless the run has it already."""
    if history.setting("normalize_observations"):
        return ()
    return (Advice("normalize_observations", "other", "--normalize-observations"),)


def higher_entropy_weight(history: History) -> Advice:
    """An entropy weight above the run's."""
    return Advice("entropy_weight", "higher", f"a higher --entropy-weight than {history.number('entropy_weight', 0):g}")


def lower_entropy_weight(history: History) -> tuple[Advice, ...]:
    """An entropy weight below the run's, unless it is zero."""
    weight = history.number("entropy_weight", 0)
    if weight <= 0:
        return ()
    return (Advice("entropy_weight", "lower", f"a lower --entropy-weight than {weight:g}"),)


def more_exploration(history: History) -> tuple[Advice, ...]:
    """What makes the agent explore more; nothing if its policy is as random as at the start."""
    if history.is_random:
        return ()
    if history.setting("entropy_weight") is not None:
        return (higher_entropy_weight(history),)
    return (
        Advice("exploration_steps", "higher", "more --exploration-steps"),
        Advice("final_epsilons", "higher", "higher --final-epsilons"),
    )


def preset_of_environment(history: History) -> tuple[Advice, ...]:
    """The environment's preset, unless the run has it already."""
    preset = default_preset(history.environment).name
    return () if history.setting("preset") == preset else (Advice("preset", "other", f"--preset {preset}"),)


def longer_training(history: History) -> Advice:
    """Twice the steps of the run, or twice its time if its time was over."""
    resume = f"longer training: asyncrl train --resume --run-dir {history.run.path}"
    if (history.summary or {}).get("ended_by") == "time":
        seconds = math.ceil(2 * float(history.last[metrics.WALL_SECONDS]))
        return Advice("until_seconds", "higher", f"{resume} --until-seconds {seconds}")
    return Advice("steps", "higher", f"{resume} --steps {2 * history.planned_steps}")


def _scale(history: History, direction: Direction, text: str) -> tuple[Advice, ...]:
    return () if history.setting("normalize_rewards") else (Advice("reward_scale", direction, text),)


def _learning_rate(history: History) -> str:
    return f"{history.number('learning_rate', 0):g}"
