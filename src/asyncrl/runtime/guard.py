"""Keeps what is not finite, and on request outliers, away from the shared parameters."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from asyncrl import metrics
from asyncrl.errors import RunError
from asyncrl.types import Activations, Loss

DROPPED_IN_A_ROW = 10
"""Updates of one worker that may be dropped one after another before the run is given up."""
OUTLIER_DECAY = 0.99
"""Decay rate of the running mean and variance of losses that outliers are compared with."""
OUTLIER_START = 100
"""Number of losses that are seen before one can be an outlier."""
LARGE = 1e4
"""Observations and rewards beyond this are named as the likely cause."""


class UpdateGuard:
    """Drops updates whose loss or gradient is not finite, and gives up when no other ones come.

    Args:
        worker: Its number.
        folder: Of the run, for the rollout that could not be learned from.
        outlier_deviations: Also drops updates whose loss exceeds the running mean by so many standard deviations.
    """

    def __init__(self, worker: int, folder: Path, outlier_deviations: float | None = None) -> None:
        self.worker, self.folder, self.outlier_deviations = worker, folder, outlier_deviations
        self.seen, self.mean, self.variance = 0, 0.0, 0.0  # of losses
        self.dropped = 0  # since the last call of `pop`
        self.in_a_row = 0

    def passes(self, loss: Loss, norm: float, experience: Any) -> bool:
        """Whether an update may be applied.

        Args:
            loss: The loss that it came from.
            norm: The norm of its gradient.
            experience: What the loss is about.

        Raises:
            RunError: It is the tenth update in a row that may not; the experience has been written to the run folder.
        """
        size = float(loss.total.detach())
        if math.isfinite(norm) and math.isfinite(size):
            self.in_a_row = 0
            if self.outlier_deviations is None or not self._is_outlier(abs(size)):
                return True
            self.dropped += 1
            return False
        self.dropped += 1
        self.in_a_row += 1
        if self.in_a_row == DROPPED_IN_A_ROW:
            raise RunError(self._explain(loss, norm, experience))
        return False

    def _is_outlier(self, size: float) -> bool:
        """Whether the size of a loss is one. Outliers move the running mean and variance too: losses may grow."""
        assert self.outlier_deviations is not None
        limit = self.mean + self.outlier_deviations * math.sqrt(self.variance)
        is_outlier = self.seen >= OUTLIER_START and size > limit
        self.seen += 1
        rate = max(1 - OUTLIER_DECAY, 1 / self.seen)
        self.mean += rate * (size - self.mean)
        self.variance += rate * ((size - self.mean) ** 2 - self.variance)
        return is_outlier

    def pop(self) -> int:
        """Number of updates dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _explain(self, loss: Loss, norm: float, experience: Any) -> str:
        tensors = {name: tensor.detach().contiguous() for name, tensor in named_tensors(experience)}
        file = self.folder / f"not-finite-worker-{self.worker}.safetensors"
        numbers = {name: float(value) for name, value in loss.statistics.items()}
        numbers |= {"loss": float(loss.total.detach()), metrics.GRADIENT_NORM: norm}
        try:
            safetensors.torch.save_file(tensors, file, {"numbers": json.dumps(numbers)})
            place = f"what the last one was learned from is in {file}"
        except Exception as error:  # OSError, or safetensors' own kind for a full disk
            place = f"what the last one was learned from could not be written ({error})"
        rewards, inputs = _largest(tensors, "rewards"), _largest(tensors, "observations")
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


def named_tensors(experience: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in a tree of dataclasses, mappings and sequences, with names such as `rollout/rewards`."""
    if isinstance(experience, Tensor):
        yield name, experience
        return
    if isinstance(experience, Activations):  # can be computed again
        return
    if dataclasses.is_dataclass(experience):
        parts = [(field.name, getattr(experience, field.name)) for field in dataclasses.fields(experience)]
    elif isinstance(experience, Mapping):
        parts = list(experience.items())
    elif isinstance(experience, Sequence) and not isinstance(experience, str):
        parts = [(str(number), part) for number, part in enumerate(experience)]
    else:
        parts = []
    for key, part in parts:
        yield from named_tensors(part, f"{name}/{key}" if name else str(key))


def _largest(tensors: Mapping[str, Tensor], field: str) -> float:
    """The largest number in the tensors of a field, wherever in the experience it lies."""
    found = [float(t.float().abs().max()) for name, t in tensors.items() if field in name.split("/") and t.numel()]
    return max(found, default=0.0)
