"""Lock-free optimisers on one flat vector of shared parameters, from explicit gradients.

Every worker applies its gradients to the same θ and the same statistics whenever it has them (Hogwild!, Recht et al.
2011). Two workers that write at once may lose single additions; nothing waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from asyncrl import kernels
from asyncrl.errors import UserError
from asyncrl.settings import OptimizerSettings

TINY = 1e-30
"""Far below any ε²; the root of an exact zero takes a CPU twenty times as long as that of any other number."""


class HogwildOptimizer(Protocol):
    """Applies gradients to shared parameters."""

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        ...


@dataclass(frozen=True, slots=True)
class MomentumSGD:
    """Momentum SGD, each worker with a momentum of its own (Mnih et al. 2016, §4 and Supplement 7).

    m ← α m + (1-α) d;  θ ← θ - η m.
    """

    parameters: Tensor  # θ [P]
    momentum: Tensor  # m [P]
    decay: float  # α

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        vectors = gradient, self.parameters, self.momentum
        d, theta, m = _compiled_part("momentum_sgd", vectors, self.decay, 1 - self.decay, -learning_rate)
        m.mul_(self.decay).add_(d, alpha=1 - self.decay)
        theta.add_(m, alpha=-learning_rate)


@dataclass(frozen=True, slots=True)
class RMSProp:
    """RMSProp (Mnih et al. 2016, §4, eq. 8-9): non-centred, ε inside the root.

    g ← α g + (1-α) d²;  θ ← θ - η d / √(g + ε). The paper's shared RMSProp if all workers have the same g.
    """

    parameters: Tensor  # θ [P]
    square_average: Tensor  # g [P]
    decay: float  # α
    epsilon: float  # ε

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        vectors = gradient, self.parameters, self.square_average
        d, theta, g = _compiled_part("rmsprop", vectors, self.decay, 1 - self.decay, self.epsilon, -learning_rate)
        g.mul_(self.decay).addcmul_(d, d, value=1 - self.decay)
        theta.addcdiv_(d, (g + self.epsilon).sqrt_(), value=-learning_rate)


@dataclass(frozen=True, slots=True)
class SharedAdam:
    """Adam (Kingma & Ba 2015, Algorithm 1) with moments and step count shared by all workers.

    The count that corrects the moments' bias is that of all workers' updates; a private count would leave the shared
    moments wrongly scaled.
    """

    parameters: Tensor  # θ [P]
    average: Tensor  # m [P]
    square_average: Tensor  # v [P]
    momentum: float  # β1
    decay: float  # β2
    epsilon: float  # ε
    updates: Callable[[], int]  # applied so far, by all workers

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        count = self.updates() + 1
        scale = (1 - self.decay**count) ** -0.5
        rate = learning_rate / (1 - self.momentum**count)
        beta1, beta2 = self.momentum, self.decay
        vectors = gradient, self.parameters, self.average, self.square_average
        d, theta, m, v = _compiled_part("adam", vectors, beta1, 1 - beta1, beta2, 1 - beta2, scale, self.epsilon, -rate)
        m.mul_(beta1).add_(d, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(d, d, value=1 - beta2)
        root = (v + TINY).sqrt_()
        theta.addcdiv_(m, root.mul_(scale).add_(self.epsilon), value=-rate)


def _compiled_part(formula: str, vectors: tuple[Tensor, ...], *coefficients: float) -> tuple[Tensor, ...]:
    """Applies a compiled update to as much of the vectors [P] as it takes, and returns the rest for torch.

    Args:
        formula: Its name in `asyncrl.kernels.optimizers`.
        vectors: Gradient, θ and its statistics.
        coefficients: Of the formula.
    """
    if not kernels.available():
        return vectors
    from asyncrl.kernels import optimizers

    done = optimizers.update(getattr(optimizers, formula), vectors[0], vectors[1:], coefficients)
    return tuple(vector[done:] for vector in vectors)


STATISTICS: Mapping[str, tuple[str, ...]] = {
    "shared-rmsprop": ("square_average",),
    "rmsprop": ("square_average",),
    "momentum-sgd": ("momentum",),
    "shared-adam": ("average", "square_average"),
}
"""The vectors beside θ, each [P], that an optimiser keeps."""

PRIVATE = ("rmsprop", "momentum-sgd")
"""Optimisers of which every worker has statistics of its own."""


CLASSES: Mapping[str, type[HogwildOptimizer]] = {
    "shared-rmsprop": RMSProp,
    "rmsprop": RMSProp,
    "momentum-sgd": MomentumSGD,
    "shared-adam": SharedAdam,
}


def optimizer_class(name: str) -> type[HogwildOptimizer]:
    """The optimiser of that name.

    Raises:
        UserError: There is none.
    """
    if name not in CLASSES:
        raise UserError(f"unknown optimizer {name!r}: choose one of {', '.join(CLASSES)}")
    return CLASSES[name]


def statistic_names(optimizer: str, workers: int) -> list[str]:
    """All vectors of a run: they lie in shared memory, private ones too, so that checkpoints can hold them."""
    optimizer_class(optimizer)
    if optimizer in PRIVATE:
        return [f"{name}/{worker}" for worker in range(workers) for name in STATISTICS[optimizer]]
    return list(STATISTICS[optimizer])


def make_optimizer(
    settings: OptimizerSettings,
    parameters: Tensor,
    statistics: Mapping[str, Tensor],
    worker: int,
    updates: Callable[[], int],
) -> HogwildOptimizer:
    """The optimiser that the settings name, as one worker uses it, on vectors allocated before any worker starts."""
    private = settings.optimizer in PRIVATE
    own = {name: statistics[f"{name}/{worker}" if private else name] for name in STATISTICS[settings.optimizer]}
    match settings.optimizer:
        case "shared-rmsprop" | "rmsprop":
            return RMSProp(parameters, own["square_average"], settings.decay, settings.epsilon)
        case "momentum-sgd":
            return MomentumSGD(parameters, own["momentum"], settings.decay)
        case _:  # shared-adam
            return SharedAdam(
                parameters,
                own["average"],
                own["square_average"],
                momentum=0.9,
                decay=settings.decay,
                epsilon=settings.epsilon,
                updates=updates,
            )


def gradients(loss: Tensor, network: nn.Module) -> Tensor:
    """D loss / dθ as one flat vector [P]; zero for parameters that the loss does not depend on.

    No `.grad` is ever written, so no gradient can outlive its update or reach another worker's.
    """
    parameters = list(network.parameters())
    parts = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([part.reshape(-1) for part in parts])


def clip(gradient: Tensor, max_norm: float) -> tuple[Tensor, float]:
    """The gradient [P], scaled down in place to a global norm of at most `max_norm`; and its norm before that.

    A gradient that is not finite is left as it is: its norm is not finite either, and it must not be applied.
    """
    norm = float(torch.linalg.vector_norm(gradient))
    if max_norm < norm < math.inf:
        gradient.mul_(max_norm / norm)
    return gradient, norm
