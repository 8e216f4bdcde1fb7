"""Value replay: the critic learns from replayed sequences too (Jaderberg et al. 2017, §3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from asyncrl import functional as F
from asyncrl.auxiliary.base import AuxiliaryTask, TaskLoss
from asyncrl.types import Rollout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import Head
    from asyncrl.types import EnvironmentInfo


class Cut(NamedTuple):
    """Replayed sequences, and where the returns of each are truncated."""

    rollout: Rollout
    cuts: Tensor  # int64 [N], from 1 to T


class ValueReplay(AuxiliaryTask):
    """Regresses the value on n-step returns of replayed sequences, without a policy gradient.

    A sequence is cut into two windows at random, and returns are truncated at the end of each. So the same step is seen
    with returns of many lengths.

    Deviation: sequences of recurrent networks begin where rollouts began. The paper's windows begin anywhere.
    """

    name = "value_replay"
    needs = ("value",)

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """None of its own: it learns the algorithm's value."""
        return {}

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Cut | None:
        """Sequences, all alike in probability, and cuts."""
        import torch

        rollout = replay.sequences(random)
        if rollout is None:
            return None
        steps, count = rollout.rewards.shape
        return Cut(rollout, torch.randint(1, steps + 1, (count,), generator=random))

    def loss(self, network: Network, sample: Cut) -> TaskLoss:
        """The squared errors of the values."""
        rollout = sample.rollout
        values = network.unroll(rollout, heads=self.needs)["value"]  # [T+1, N]
        returns = F.auxiliary.cut_returns(rollout.rewards, rollout.discounts, values, rollout.valid, sample.cuts)
        return TaskLoss(F.value_learning.squared_error(values[:-1], returns), rollout.valid)
