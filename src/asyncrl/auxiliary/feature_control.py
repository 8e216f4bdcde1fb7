"""Feature control: learning to activate the network's own units (Jaderberg et al. 2017, §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from asyncrl.auxiliary.base import AuxiliaryTask, TaskLoss
from asyncrl.auxiliary.control import control_losses, number_of_actions
from asyncrl.functional.masking import masked
from asyncrl.networks.heads import Head, Output

if TYPE_CHECKING:
    import torch

    from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
    from asyncrl.networks.assemble import Network
    from asyncrl.types import EnvironmentInfo, Rollout

FEATURES = "controlled_features"


class FeatureControlHead(nn.Module):
    """Action values of each feature [..., F, A]; dueling: Q = V + A - mean_a A."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        self.sizes = features, actions
        self.value = Output(features, features)
        self.advantage = Output(features, features * actions)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features [..., F] give Q [..., F, A]."""
        advantage = self.advantage(features).unflatten(-1, self.sizes)
        values = self.value(features).unsqueeze(-1) + advantage - advantage.mean(-1, keepdim=True)
        return masked(values, None if mask is None else mask[..., None, :])


class FeatureControl(AuxiliaryTask):
    """Learns action values of activating each unit of the layer that the heads are fed from, by n-step Q-learning.

    The pseudo-reward of a step is the activation after it: of the core, or of the torso without a core.

    Deviation: the paper leaves open which hidden layer is controlled.
    """

    name = "feature_control"

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """Action values of each feature, and the features themselves.

        Raises:
            UserError: The actions are not discrete.
        """
        actions = number_of_actions(info.action_space, "--feature-control")

        def make(features: int) -> FeatureControlHead:
            return FeatureControlHead(features, actions)

        return {
            self.name: Head(make, auxiliary=True, masked=True),
            FEATURES: Head(lambda _features: nn.Identity(), auxiliary=True),
        }

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Rollout | None:
        """Sequences."""
        return replay.sequences(random)

    def loss(self, network: Network, sample: Rollout) -> TaskLoss:
        """The squared errors, summed over features. No gradient flows through the pseudo-rewards."""
        outputs = network.unroll(sample, heads=[self.name, FEATURES])
        activations = outputs[FEATURES][1:].detach()  # [T, N, F]
        return TaskLoss(control_losses(outputs[self.name], activations, sample), sample.valid)
