"""Keeps what is not finite away from the shared parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from asyncrl import metrics
from asyncrl.errors import RunError
from asyncrl.types import Loss, Rollout

DROPPED_IN_A_ROW = 10
"""Updates of one worker that may be dropped one after another before the run is given up."""
LARGE = 1e4
"""Observations and rewards beyond this are named as the likely cause."""


class UpdateGuard:
    """Drops updates whose loss or gradient is not finite, and gives up when no other ones come.

    Args:
        worker: Its number.
        folder: Of the run, for the rollout that could not be learned from.
    """

    def __init__(self, worker: int, folder: Path) -> None:
        self.worker, self.folder = worker, folder
        self.dropped = 0  # since the last call of `pop`
        self.in_a_row = 0

    def passes(self, loss: Loss, norm: float, rollout: Rollout) -> bool:
        """Whether an update may be applied.

        Args:
            loss: What it came from.
            norm: Of its gradient.
            rollout: What the loss is about.

        Raises:
            RunError: It is the tenth in a row that may not; the rollout has been written to the run folder.
        """
        if math.isfinite(norm) and math.isfinite(float(loss.total.detach())):
            self.in_a_row = 0
            return True
        self.dropped += 1
        self.in_a_row += 1
        if self.in_a_row == DROPPED_IN_A_ROW:
            raise RunError(self._explain(loss, norm, rollout))
        return False

    def pop(self) -> int:
        """Number of updates dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _explain(self, loss: Loss, norm: float, rollout: Rollout) -> str:
        tensors = {name: tensor.contiguous() for name, tensor in rollout_tensors(rollout).items()}
        file = self.folder / f"not-finite-worker-{self.worker}.safetensors"
        numbers = {name: float(value) for name, value in loss.statistics.items()}
        numbers |= {"loss": float(loss.total.detach()), metrics.GRADIENT_NORM: norm}
        try:
            safetensors.torch.save_file(tensors, file, {"numbers": json.dumps(numbers)})
            place = f"the rollout of the last one is in {file}"
        except Exception as error:  # OSError, or safetensors' own kind for a full disk
            place = f"the rollout of the last one could not be written ({error})"
        rewards = float(rollout.rewards.abs().max())
        observations = [tensor for name, tensor in tensors.items() if name.startswith("observations")]
        inputs = max(float(tensor.float().abs().max()) for tensor in observations)
        if rewards > LARGE:
            cause = f"its rewards reach {rewards:g}: use --reward-clip or --reward-scale"
        elif inputs > LARGE:
            cause = f"its observations reach {inputs:g}: use --normalize-observations"
        else:
            cause = "lower --learning-rate, and go on with --resume"
        return (
            f"worker {self.worker}: {DROPPED_IN_A_ROW} updates in a row had a loss or a gradient that is not finite; "
            f"none of them reached the parameters\n{place}; {cause}"
        )


def rollout_tensors(rollout: Rollout) -> dict[str, Tensor]:
    """Its tensors by name; observations of a Dict have names such as `observations/camera`."""
    observations: Any = rollout.observations
    if not isinstance(observations, Mapping):
        observations = {"": observations}
    tensors = {f"observations/{key}".rstrip("/"): tensor for key, tensor in observations.items()}
    names = ("actions", "rewards", "discounts", "valid", "first")
    tensors |= {name: torch.as_tensor(getattr(rollout, name)) for name in names}
    return tensors | {f"state/{number}": tensor for number, tensor in enumerate(rollout.state)}
