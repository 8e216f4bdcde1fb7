"""Groups of settings that an `Experiment` holds: network, optimizer, supervision and cluster.

The docstrings of settings are also their help texts on the command line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from asyncrl.errors import UserError
from asyncrl.search_ranges import Around, OneOf, searched


@dataclass(frozen=True)
class NetworkSettings:
    """The agent's network: its torso, its recurrent core and its initial parameters."""

    torso: str = "auto"
    """Network from observation to features: mlp, atari-2013, atari-2015, minatar, an import path
    module:factory, or auto, which chooses by the shape of the observations."""
    hidden: tuple[int, ...] = searched((64, 64), OneOf(((64,), (64, 64), (128, 128), (256, 256))), torso="mlp")
    """Number of units in each layer of the mlp torso."""
    activation: Literal["relu", "tanh", "sigmoid"] = searched("relu", OneOf(("relu", "tanh")), torso="mlp")
    """Activation function after each layer of the mlp torso. On Acrobot, tanh learned where relu did not."""
    layer_norm: bool = False
    """Normalise each layer of the torso over its units or channels, before its activation function (Ba et al. 2016).
    Torsos of your own are not changed."""
    memory: Literal["none", "lstm", "gru"] = "none"
    """Recurrent core between the torso and the heads."""
    memory_size: int = 128
    """Number of units in the recurrent core."""
    initialization: Literal["torch", "orthogonal"] = "torch"
    """Distribution of the initial parameters. torch: uniform in ±1/√fan_in, as in the paper. orthogonal: orthogonal
    matrices, and an almost uniform initial policy."""
    separate: bool = False
    """Give each head its own torso and core, so that policy and value share no parameters."""
    normalize_observations: bool = False
    """Normalise vector observations by their running mean and standard deviation over all workers. Images are not
    changed."""
    last_action_reward: bool = False
    """Feed the last action and the last reward to the core, together with the torso's features."""

    def __post_init__(self) -> None:
        require(all(units > 0 for units in self.hidden), "--hidden takes positive numbers of units")
        require(self.memory_size > 0, "--memory-size must be positive")


@dataclass(frozen=True)
class OptimizerSettings:
    """The asynchronous optimiser, applied by every worker to the shared parameters without a lock."""

    optimizer: str = "shared-adam"
    """shared-adam, shared-radam, shared-rmsprop, shared-adagrad, centred-rmsprop, rmsprop, momentum-sgd, rprop (for
    nfq), or an import path module:Class. Workers share the statistics of the first five; the others keep statistics for
    each worker."""
    learning_rate: float = searched(1e-3, Around(10))
    """Learning rate at the start of the run [η]."""
    learning_rate_range: tuple[float, float] | None = None
    """Range from which the seed draws the learning rate, log-uniformly. The paper drew 50 learning rates."""
    schedule: Literal["linear", "constant"] = "linear"
    """How the learning rate changes. linear: down to zero at the last step of the run."""
    decay: float = 0.99
    """Decay rate of the squared-gradient average (RMSProp α, Adam β2) or of the momentum."""
    epsilon: float = 1e-5
    """Constant that keeps the division finite [ε]. RMSProp adds it inside the square root, Adam outside."""
    max_gradient_norm: float = searched(0.5, Around(10))
    """Largest global norm of a gradient. Larger gradients are scaled down to it."""
    outlier_deviations: float | None = None
    """Drop an update if its loss exceeds the running mean of the worker's losses by so many standard deviations (Nair
    et al. 2015). None: apply every update."""
    lock: bool = False
    """Let only one worker at a time read or change the shared parameters, to measure the cost of a lock. The paper has
    no lock."""

    def __post_init__(self) -> None:
        require(0 < self.learning_rate < math.inf, "--learning-rate must be positive and finite")
        low, high = self.learning_rate_range or (1.0, 1.0)
        require(0 < low <= high < math.inf, "--learning-rate-range takes two positive numbers, the smaller one first")
        require(0 <= self.decay < 1, "--decay must lie in [0, 1)")
        require(0 < self.epsilon < math.inf, "--epsilon must be positive and finite")
        require(self.max_gradient_norm > 0, "--max-gradient-norm must be positive (a huge one turns clipping off)")
        outliers = self.outlier_deviations
        require(outliers is None or outliers > 0, f"--outlier-deviations must be positive, or None, not {outliers}")


@dataclass(frozen=True)
class SupervisionSettings:
    """How a run is supervised, saved and evaluated. None of this changes what the agent learns."""

    restarts: int = 3
    """Maximum restarts per worker within ten minutes. After that the run continues without the worker."""
    stall_timeout: float = 300.0
    """Seconds without a heartbeat after which a worker counts as hung and is replaced."""
    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints. A power failure loses at most this much work."""
    keep_last: int = 3
    """Number of newest checkpoints to keep."""
    keep_every: int | None = None
    """Also keep one checkpoint for every so many steps, permanently."""
    eval_every: int | None = None
    """Evaluate a copy of the agent every so many steps, in a separate process, while training continues."""
    eval_episodes: int = 20
    """Number of episodes in each of these evaluations."""
    goal_episodes: int = 100
    """Number of episodes in the evaluation that decides whether --until-return is reached."""
    final_episodes: int = 0
    """Number of whole episodes in an evaluation of the final agent, once training is over. 0: no such evaluation."""
    eval_video: bool = False
    """Record a video of one more episode after each evaluation, for TensorBoard and the trackers."""
    histograms: bool = False
    """Log histograms of all parameter tensors at every checkpoint, to TensorBoard and the trackers."""
    trackers: tuple[Literal["wandb", "mlflow", "trackio"], ...] = ()
    """Experiment trackers that also receive the metrics. Each needs the extra of its name."""

    def __post_init__(self) -> None:
        require(self.restarts >= 0, f"--restarts must be 0 or more, not {self.restarts}")
        require(self.stall_timeout > 0, "--stall-timeout must be positive, in seconds")
        require(self.checkpoint_seconds > 0, "--checkpoint-seconds must be positive")
        require(self.keep_last >= 1, f"--keep-last must be at least 1, not {self.keep_last}")
        require(self.keep_every is None or self.keep_every > 0, "--keep-every must be positive, or None")
        require(self.eval_every is None or self.eval_every > 0, "--eval-every must be positive, or None")
        require(self.eval_episodes >= 1, f"--eval-episodes must be at least 1, not {self.eval_episodes}")
        require(self.goal_episodes >= 1, f"--goal-episodes must be at least 1, not {self.goal_episodes}")
        require(self.final_episodes >= 0, f"--final-episodes must be 0 or more, not {self.final_episodes}")
        require(not self.eval_video or self.eval_every is not None, "--eval-video needs --eval-every")
        require(len(set(self.trackers)) == len(self.trackers), "--trackers takes each name once")


@dataclass(frozen=True)
class ClusterSettings:
    """How a run is spread over the nodes of a Ray cluster. All of this needs --runtime ray."""

    nodes: int | Literal["auto"] = "auto"
    """Number of nodes, each with --workers workers. auto: all nodes that the cluster has when the run starts. If the
    cluster has fewer nodes than asked for, the run starts with these, and the others join later."""
    address: str = "auto"
    """Address of a Ray cluster, such as 10.0.0.1:6379. auto: the cluster that this machine belongs to; without one, Ray
    is started on this machine alone."""
    exchange: Literal["changes", "gradients"] = "changes"
    """What a node sends to the parameter server. changes: what its workers added to the node's parameters. gradients:
    the sum of its workers' gradients, to which the server applies the optimiser (Nair et al. 2015, Gorila)."""
    change_weight: float = 1.0
    """Factor of pushed changes on the server. 1: they add up, as those of the workers of one machine do. One divided by
    the number of nodes: they are averaged, which learns more slowly and is more robust."""
    exchange_seconds: float = 0.2
    """Shortest time between two pushes of a node."""
    pushes_in_flight: int = 2
    """Number of a node's pushes that may be on their way at once."""
    shards: int = 1
    """Number of parts of the parameter server. Each part is a process that holds some of the parameters."""
    max_staleness: int | None = None
    """The server rejects a push if other nodes made more pushes than this since the node's parameters were read. None:
    it takes every push."""
    actors: int = 0
    """Number of workers on each node that only act; --learners learn from their steps. 0: every worker acts and learns.
    Needs an algorithm that learns from replay alone, such as dqn."""
    learners: int = 0
    """Number of workers on each node that only learn, from the steps of the --actors of all nodes."""
    replay_shards: int = 1
    """Number of processes that hold the replay memory of --actors, at most one for each actor."""

    def __post_init__(self) -> None:
        require(self.nodes == "auto" or self.nodes > 0, f"--nodes must be at least 1, or auto, not {self.nodes}")
        require(0 <= self.exchange_seconds < math.inf, "--exchange-seconds must be finite and not negative")
        require(0 < self.change_weight <= 1, f"--change-weight must be above 0 and at most 1, not {self.change_weight}")
        require(self.pushes_in_flight >= 1, f"--pushes-in-flight must be at least 1, not {self.pushes_in_flight}")
        host, colon, port = self.address.rpartition(":")
        require(
            self.address == "auto" or bool(host and colon and port.isdecimal()),
            f"--address takes HOST:PORT, such as 10.0.0.1:6379, or auto, not {self.address!r}",
        )
        require(self.shards >= 1, f"--shards must be at least 1, not {self.shards}")
        require(self.max_staleness is None or self.max_staleness >= 0, "--max-staleness must not be negative")
        require(self.actors >= 0 and self.learners >= 0, "--actors and --learners must not be negative")
        require(
            (self.actors == 0) == (self.learners == 0),
            "--actors and --learners go together: give a number of each, or leave out both",
        )
        require(self.replay_shards >= 1, f"--replay-shards must be at least 1, not {self.replay_shards}")
        require(self.replay_shards == 1 or self.actors > 0, "--replay-shards needs --actors and --learners")


def require(condition: bool, message: str) -> None:
    """Checks a condition on settings.

    Args:
        condition: What must hold.
        message: What is wrong and what to do about it.

    Raises:
        UserError: The condition does not hold.
    """
    if not condition:
        raise UserError(message)
