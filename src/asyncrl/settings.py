"""Groups of settings that an `Experiment` holds; they import nothing of the package, so that every room can."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from asyncrl.errors import UserError


@dataclass(frozen=True)
class NetworkSettings:
    """The agent's network: torso, core, initial parameters."""

    torso: str = "auto"
    """auto (by the observations' shape), mlp, atari-2013, atari-2015, minatar, or an import path module:factory."""
    hidden: tuple[int, ...] = (64, 64)
    """Units of each layer of the mlp torso."""
    activation: Literal["relu", "tanh"] = "relu"
    """After each layer of the mlp torso; tanh learned tasks that relu did not (Acrobot)."""
    memory: Literal["none", "lstm", "gru"] = "none"
    """Recurrent core between torso and heads."""
    memory_size: int = 128
    """Units of the recurrent core."""
    initialization: Literal["torch", "orthogonal"] = "torch"
    """torch: uniform ±1/√fan_in, as the paper's; orthogonal: with an almost uniform first policy."""
    separate: bool = False
    """Give each head a torso and a core of its own, so that policy and value share no parameters."""
    normalize_observations: bool = False
    """Shift and scale vectors by their running mean and deviation, which all workers share; images are left alone."""
    last_action_reward: bool = False
    """Feed the last action and the last reward to the core beside the torso's features."""

    def __post_init__(self) -> None:
        require(all(units > 0 for units in self.hidden), "--hidden takes positive numbers of units")
        require(self.memory_size > 0, "--memory-size must be positive")


@dataclass(frozen=True)
class OptimizerSettings:
    """The asynchronous optimiser, applied by every worker to the shared parameters without a lock."""

    optimizer: Literal["shared-rmsprop", "rmsprop", "momentum-sgd", "shared-adam"] = "shared-adam"
    """The first three are the paper's: rmsprop and momentum-sgd keep statistics for each worker."""
    learning_rate: float = 1e-3
    """η at the start."""
    learning_rate_range: tuple[float, float] | None = None
    """Draw the learning rate log-uniformly from this range, by the seed, as the paper did 50 times."""
    schedule: Literal["linear", "constant"] = "linear"
    """linear: to zero at the run's last step."""
    decay: float = 0.99
    """Of the mean squared gradient [α; Adam's β2], or of the momentum."""
    epsilon: float = 1e-5
    """Keeps the division finite [ε]: inside the root in RMSProp, outside in shared-adam."""
    max_gradient_norm: float = 0.5
    """Gradients are scaled down to this global norm."""
    lock: bool = False
    """Workers take turns to read and to change the shared parameters: an ablation, the paper has no lock."""

    def __post_init__(self) -> None:
        require(0 < self.learning_rate < math.inf, "--learning-rate must be positive and finite")
        low, high = self.learning_rate_range or (1.0, 1.0)
        require(0 < low <= high < math.inf, "--learning-rate-range takes two positive numbers, the smaller one first")
        require(0 <= self.decay < 1, "--decay must lie in [0, 1)")
        require(0 < self.epsilon < math.inf, "--epsilon must be positive and finite")
        require(self.max_gradient_norm > 0, "--max-gradient-norm must be positive (a huge one turns clipping off)")


@dataclass(frozen=True)
class SupervisionSettings:
    """How a run is watched, saved and evaluated; none of it changes what is learned."""

    restarts: int = 3
    """Restarts of a worker within ten minutes; when it fails once more, the run goes on without it."""
    stall_timeout: float = 300.0
    """Seconds without a sign of life after which a worker is taken to hang, and replaced."""
    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints: the most that a power failure can cost."""
    keep_last: int = 3
    """Newest checkpoints to keep."""
    keep_every: int | None = None
    """Keep a checkpoint for each multiple of this many steps too, for ever."""
    eval_every: int | None = None
    """Evaluate a frozen copy of the agent after each multiple of this many steps, in a process of its own."""
    eval_episodes: int = 20
    """Episodes of such an evaluation."""
    goal_episodes: int = 100
    """Episodes of the evaluation that decides whether --until-return is reached."""
    eval_video: bool = False
    """Film one more episode at each evaluation, for TensorBoard and the trackers."""
    histograms: bool = False
    """Show the distribution of each parameter tensor at checkpoints, in TensorBoard and the trackers."""
    trackers: tuple[Literal["wandb", "mlflow", "trackio"], ...] = ()
    """Send metrics to these too; each needs the extra of its name."""

    def __post_init__(self) -> None:
        require(self.restarts >= 0, f"--restarts must be 0 or more, not {self.restarts}")
        require(self.stall_timeout > 0, "--stall-timeout must be positive, in seconds")
        require(self.checkpoint_seconds > 0, "--checkpoint-seconds must be positive")
        require(self.keep_last >= 1, f"--keep-last must be at least 1, not {self.keep_last}")
        require(self.keep_every is None or self.keep_every > 0, "--keep-every must be positive, or None")
        require(self.eval_every is None or self.eval_every > 0, "--eval-every must be positive, or None")
        require(self.eval_episodes >= 1, f"--eval-episodes must be at least 1, not {self.eval_episodes}")
        require(self.goal_episodes >= 1, f"--goal-episodes must be at least 1, not {self.goal_episodes}")
        require(not self.eval_video or self.eval_every is not None, "--eval-video needs --eval-every")
        require(len(set(self.trackers)) == len(self.trackers), "--trackers takes each name once")


def require(condition: bool, message: str) -> None:
    """Refuses a setting.

    Raises:
        UserError: The condition does not hold; `message` says what to do.
    """
    if not condition:
        raise UserError(message)
