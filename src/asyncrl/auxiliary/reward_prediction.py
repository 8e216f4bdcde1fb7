"""Reward prediction: which sign the next reward has (Jaderberg et al. 2017, §3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from asyncrl import functional as F
from asyncrl.auxiliary.base import AuxiliaryTask, TaskLoss
from asyncrl.networks.heads import Head, Output

if TYPE_CHECKING:
    from asyncrl.memory.auxiliary_replay import AuxiliaryReplay, Histories
    from asyncrl.networks.assemble import Network
    from asyncrl.types import EnvironmentInfo

HISTORY = 3
"""Observations that a reward is predicted from."""
REWARDED = 0.5
"""Share of the drawn steps that have a reward, as far as there are any."""
UNITS = 128


class RewardPredictionHead(nn.Module):
    """Logits [T, N, 3] of the class of the reward that follows each observation, from it and the two before it.

    Zeros stand for what lies before the first one.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(HISTORY * features, UNITS)
        self.logits = Output(UNITS, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Features of successive observations [T, N, F] give logits [T, N, 3]."""
        padded = nn.functional.pad(features, (0, 0, 0, 0, HISTORY - 1, 0))
        recent = torch.cat([padded[back : back + len(features)] for back in range(HISTORY)], -1)
        logits: Tensor = self.logits(torch.relu_(self.hidden(recent)))
        return logits


class RewardPrediction(AuxiliaryTask):
    """Classifies the next reward as zero, positive or negative from the torso's features of three observations.

    Deviation: the three observations belong to one episode, so the rewards of its first two steps are not drawn.
    """

    name = "reward_prediction"

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """A small network on the features of the torso; the core plays no part."""
        return {self.name: Head(RewardPredictionHead, fed_by="torso", auxiliary=True)}

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Histories | None:
        """Single steps, half of them with a reward."""
        return replay.histories(random, HISTORY, REWARDED)

    def loss(self, network: Network, sample: Histories) -> TaskLoss:
        """The cross-entropy, one for each step drawn."""
        logits = network.see(sample.observations, [self.name])[self.name][-1]  # [N, 3]
        classes = F.auxiliary.reward_classes(sample.rewards)
        losses = nn.functional.cross_entropy(logits, classes, reduction="none").unsqueeze(0)
        right = (logits.argmax(-1) == classes).to(torch.float32).mean()
        return TaskLoss(losses, torch.ones_like(losses, dtype=torch.bool), {f"{self.name}_accuracy": right})
