"""Lock-free optimisers on one flat vector of shared parameters, from explicit gradients.

Every worker applies its gradients to the same θ and the same statistics whenever it has them (Hogwild!, Recht et al.
2011). Two workers that write at once may lose single additions; nothing waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from asyncrl import kernels
from asyncrl.errors import UserError
from asyncrl.importing import import_object
from asyncrl.optim.rprop import Rprop
from asyncrl.settings import OptimizerSettings

TINY = 1e-30
"""Far below any ε²; the root of an exact zero takes a CPU twenty times as long as that of any other number."""


class HogwildOptimizer(Protocol):
    """Applies gradients to shared parameters; each worker makes one, on vectors that were allocated before it started.

    Args:
        settings: The optimiser's settings.
        parameters: θ [P], shared by all workers.
        statistics: The vectors [P] that `statistics` names; they are zero at the start of a run.
        updates: Number of updates applied so far, by all workers.
    """

    statistics: ClassVar[tuple[str, ...]]
    """Names of the vectors beside θ, each [P], that the optimiser keeps."""
    private: ClassVar[bool]
    """Whether every worker has statistics of its own."""

    def __init__(
        self,
        settings: OptimizerSettings,
        parameters: Tensor,
        statistics: Mapping[str, Tensor],
        updates: Callable[[], int],
    ) -> None: ...

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        ...


class MomentumSGD:
    """Momentum SGD, each worker with a momentum of its own (Mnih et al. 2016, §4 and Supplement 7).

    m ← α m + (1-α) d;  θ ← θ - η m.
    """

    statistics: ClassVar[tuple[str, ...]] = ("momentum",)
    private: ClassVar[bool] = True

    def __init__(
        self,
        settings: OptimizerSettings,
        parameters: Tensor,
        statistics: Mapping[str, Tensor],
        updates: Callable[[], int],
    ) -> None:
        self.parameters, self.momentum, self.decay = parameters, statistics["momentum"], settings.decay

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        vectors = gradient, self.parameters, self.momentum
        d, theta, m = _compiled_part("momentum_sgd", vectors, self.decay, 1 - self.decay, -learning_rate)
        m.mul_(self.decay).add_(d, alpha=1 - self.decay)
        theta.add_(m, alpha=-learning_rate)


class RMSProp:
    """RMSProp with statistics of each worker's own (Mnih et al. 2016, §4): non-centred, ε inside the root.

    g ← α g + (1-α) d²;  θ ← θ - η d / √(g + ε).
    """

    statistics: ClassVar[tuple[str, ...]] = ("square_average",)
    private: ClassVar[bool] = True

    def __init__(
        self,
        settings: OptimizerSettings,
        parameters: Tensor,
        statistics: Mapping[str, Tensor],
        updates: Callable[[], int],
    ) -> None:
        [name] = self.statistics
        self.parameters, self.squares = parameters, statistics[name]  # θ, g
        self.decay, self.epsilon = settings.decay, settings.epsilon

    @property
    def weights(self) -> tuple[float, float]:
        """Factors of g and of d² in the new g."""
        return self.decay, 1 - self.decay

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        vectors = gradient, self.parameters, self.squares
        keep, take = self.weights
        d, theta, g = _compiled_part("rmsprop", vectors, keep, take, self.epsilon, -learning_rate)
        g.mul_(keep).addcmul_(d, d, value=take)
        theta.addcdiv_(d, (g + self.epsilon).sqrt_(), value=-learning_rate)


class SharedRMSProp(RMSProp):
    """The paper's shared RMSProp: all workers have the same g (Mnih et al. 2016, §4, eq. 8-9)."""

    private: ClassVar[bool] = False


class CentredRMSProp:
    """Centred RMSProp with statistics shared by all workers, as DQN uses it (Mnih et al. 2015, Extended Data Table 1).

    g ← α g + (1-α) d;  n ← α n + (1-α) d²;  θ ← θ - η d / √(n - g² + ε). The table's "gradient momentum" of 0.95 is the
    decay of g, as in the authors' code; there is no momentum beside it.
    """

    statistics: ClassVar[tuple[str, ...]] = ("average", "square_average")
    private: ClassVar[bool] = False

    def __init__(
        self,
        settings: OptimizerSettings,
        parameters: Tensor,
        statistics: Mapping[str, Tensor],
        updates: Callable[[], int],
    ) -> None:
        self.parameters = parameters
        self.average, self.square_average = statistics["average"], statistics["square_average"]  # g, n
        self.decay, self.epsilon = settings.decay, settings.epsilon

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        vectors = gradient, self.parameters, self.average, self.square_average
        coefficients = self.decay, 1 - self.decay, -1.0, self.epsilon, -learning_rate
        d, theta, g, n = _compiled_part("centred_rmsprop", vectors, *coefficients)
        g.mul_(self.decay).add_(d, alpha=1 - self.decay)
        n.mul_(self.decay).addcmul_(d, d, value=1 - self.decay)
        variance = torch.addcmul(n, g, g, value=-1)
        # rounding, and other workers between the two lines above, can leave a variance below zero
        theta.addcdiv_(d, variance.clamp_(min=0).add_(self.epsilon).sqrt_(), value=-learning_rate)


class SharedAdam:
    """Adam (Kingma & Ba 2015, Algorithm 1) with moments and step count shared by all workers.

    The count that corrects the moments' bias is that of all workers' updates; a private count would leave the shared
    moments wrongly scaled.
    """

    statistics: ClassVar[tuple[str, ...]] = ("average", "square_average")
    private: ClassVar[bool] = False
    momentum: ClassVar[float] = 0.9  # β1

    def __init__(
        self,
        settings: OptimizerSettings,
        parameters: Tensor,
        statistics: Mapping[str, Tensor],
        updates: Callable[[], int],
    ) -> None:
        self.parameters = parameters
        self.average, self.square_average = statistics["average"], statistics["square_average"]  # m, v
        self.decay, self.epsilon, self.updates = settings.decay, settings.epsilon, updates  # β2, ε

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


class SharedRAdam(SharedAdam):
    """Rectified Adam (Liu et al. 2020, Algorithm 2) with moments and step count shared by all workers.

    The variance of Adam's adaptive rate is not finite as long as few gradients have been seen (ρ_t ≤ 5). Until then
    θ ← θ - η m̂, and afterwards the step of Adam is multiplied by r_t, which rises to 1.
    """

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]."""
        count, beta1, beta2 = self.updates() + 1, self.momentum, self.decay
        longest = 2 / (1 - beta2) - 1  # ρ_∞
        length = longest - 2 * count * beta2**count / (1 - beta2**count)  # ρ_t
        if length > 5:
            square = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)  # r_t²
            super().apply(gradient, learning_rate * square**0.5)
            return
        self.average.mul_(beta1).add_(gradient, alpha=1 - beta1)
        self.square_average.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.parameters.add_(self.average, alpha=-learning_rate / (1 - beta1**count))


class SharedAdaGrad(SharedRMSProp):
    """AdaGrad (Duchi et al. 2011) with a sum of squares shared by all workers, as Gorila has it (Nair et al. 2015).

    g ← g + d²;  θ ← θ - η d / √(g + ε).
    """

    statistics: ClassVar[tuple[str, ...]] = ("square_sum",)

    @property
    def weights(self) -> tuple[float, float]:
        """Factors of g and of d²: nothing is forgotten."""
        return 1.0, 1.0


class GradientSum:
    """In the place of an optimiser: adds gradients to a shared vector, for whoever applies their sum.

    Args:
        total: The sum [P], which all workers of this machine add to without a lock.
    """

    def __init__(self, total: Tensor) -> None:
        self.total = total

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """Adds a flat gradient [P]; the learning rate is left to whoever applies the sum."""
        self.total.add_(gradient)


OPTIMIZERS: dict[str, type[HogwildOptimizer]] = {
    "shared-rmsprop": SharedRMSProp,
    "rmsprop": RMSProp,
    "centred-rmsprop": CentredRMSProp,
    "momentum-sgd": MomentumSGD,
    "shared-adam": SharedAdam,
    "shared-radam": SharedRAdam,
    "shared-adagrad": SharedAdaGrad,
    "rprop": Rprop,
}
"""The optimisers by their names on the command line."""


def optimizer_class(name: str) -> type[HogwildOptimizer]:
    """The optimiser of that name, or at that import path `module:Class`.

    Raises:
        UserError: There is none.
    """
    if ":" in name:
        cls: type[HogwildOptimizer] = import_object(name, "optimizer")
        return cls
    if name not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise UserError(f"unknown optimizer {name!r}: choose one of {known}, or give an import path module:Class")
    return OPTIMIZERS[name]


def statistic_names(optimizer: str, workers: Iterable[int]) -> list[str]:
    """Names of the vectors of some workers; private ones are shared memory too, so that checkpoints can hold them."""
    cls = optimizer_class(optimizer)
    if cls.private:
        return [f"{name}/{worker}" for worker in workers for name in cls.statistics]
    return list(cls.statistics)


def make_optimizer(
    settings: OptimizerSettings,
    parameters: Tensor,
    statistics: Mapping[str, Tensor],
    worker: int,
    updates: Callable[[], int],
) -> HogwildOptimizer:
    """The optimiser that the settings name, as one worker uses it.

    Args:
        settings: The optimiser's settings.
        parameters: θ [P].
        statistics: All vectors of the run by the names that `statistic_names` gives.
        worker: The worker's number.
        updates: Number of updates applied so far, by all workers.

    Raises:
        UserError: There is no such optimiser.
    """
    cls = optimizer_class(settings.optimizer)
    own = {name: statistics[f"{name}/{worker}" if cls.private else name] for name in cls.statistics}
    return cls(settings, parameters, own, updates)


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
