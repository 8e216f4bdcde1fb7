"""Rprop: steps whose sizes follow from the signs of successive gradients, for learning from a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from asyncrl.settings import OptimizerSettings


@runtime_checkable
class Restartable(Protocol):
    """An optimiser that adapts to one loss, and is told when another one begins (`Loss.restart`)."""

    def restart(self) -> None:
        """Forgets the gradients so far."""
        ...


class Rprop:
    """Rprop (Riedmiller & Braun 1993) in the form iRprop⁻ (Igel & Hüsken 2000), which is also torch's.

    Each parameter has a step size Δ, which is the learning rate at its first update. Where the gradient has the sign of
    the one before, Δ ← min(1.2 Δ, 50). Where the sign has changed, Δ ← max(Δ/2, 10⁻⁶), and the parameter stays where it
    is for this update. Otherwise θ ← θ - Δ sign(d). The size of the gradient has no effect, nor has its clipping.

    The signs mean something only if successive gradients are those of one loss, as in a fit of NFQ. So each worker has
    step sizes of its own, and they begin anew with each fit.
    """

    statistics: ClassVar[tuple[str, ...]] = ("step_size", "sign")
    private: ClassVar[bool] = True
    growth: ClassVar[float] = 1.2  # η⁺
    shrinkage: ClassVar[float] = 0.5  # η⁻
    limits: ClassVar[tuple[float, float]] = (1e-6, 50.0)  # Δ_min, Δ_max

    def __init__(
        self,
        settings: OptimizerSettings,
        parameters: Tensor,
        statistics: Mapping[str, Tensor],
        updates: Callable[[], int],
    ) -> None:
        self.parameters, self.step_size, self.sign = parameters, statistics["step_size"], statistics["sign"]

    def restart(self) -> None:
        """Forgets step sizes and signs."""
        self.step_size.zero_()
        self.sign.zero_()

    def apply(self, gradient: Tensor, learning_rate: float) -> None:
        """One update from a flat gradient [P]; the learning rate is the size of a parameter's first step."""
        self.step_size.masked_fill_(self.step_size == 0, learning_rate)
        sign = gradient.sign()
        agreement = sign * self.sign
        factor = torch.where(agreement > 0, self.growth, torch.where(agreement < 0, self.shrinkage, 1.0))
        self.step_size.mul_(factor).clamp_(*self.limits)
        sign.masked_fill_(agreement < 0, 0.0)
        self.parameters.addcmul_(sign, self.step_size, value=-1)
        self.sign.copy_(sign)
