"""A3C with unsupervised auxiliary tasks, UNREAL (Jaderberg et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.auxiliary_tasks import AuxiliaryTasks


@dataclass(frozen=True)
class Unreal(AuxiliaryTasks, A3C):
    """A3C that also learns to control pixels, to predict rewards and to value replayed steps.

    L = L_A3C + λ_VR L_VR + λ_PC Σ_c L_Q^(c) + λ_RP L_RP, where c are the cells of a grid over the image. One update
    applies the gradient of the whole. With all weights 0 it is A3C.
    """
