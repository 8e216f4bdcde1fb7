"""Rewards for states that were seldom reached, counted over all workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Space
from torch import Tensor

from asyncrl.config import Experiment
from asyncrl.functional.hashing import cells_of, simhash
from asyncrl.networks.masks import split_mask, unmasked_space
from asyncrl.networks.newest_frame import NewestFrame
from asyncrl.tree import tree_map
from asyncrl.types import LAST_ACTION, LAST_REWARD, EnvironmentInfo, Rollout

SIZE = 22
"""log₂ of the number of cells in which visits are counted."""
CELLS = 2**SIZE
VISITS = "visits"
"""Name of the tensor in checkpoints that holds the number of visits of each cell."""
SIDE = 52
"""Pixels along each side to which larger images are averaged, as in the paper's experiments on Atari."""

LARGEST = 2e9
"""A bound beyond it counts as none, because environments write "unbounded" as the largest number of a type too."""


class ExplorationBonus:
    """Adds β / √n(φ(s)) to the reward for the step that leads to s (Tang et al. 2017, equation 1).

    φ is SimHash with k bits. Visits are counted over all workers of a run. All of a rollout's steps are counted before
    their bonuses are computed, and hardly any worker sees a count of 1.

    Deviation: n is kept in one table of 2^22 cells, where the paper takes the smallest of six counts. Hashes that share
    a cell share their count.

    Deviation: the bonus belongs to the step that leads to s, so that it depends on the action. An episode's first state
    is never counted.

    Args:
        features: Makes observations of the environment into vectors.
        scale: β.
        bits: k.
        seed: Seed of the hyperplanes, the same in all workers.
    """

    def __init__(self, features: Features, scale: float, bits: int, seed: int) -> None:
        self.features, self.scale = features, scale
        random = torch.Generator().manual_seed(seed)
        self.hyperplanes = torch.randn(bits, features.size, generator=random)
        self.keys = torch.randint(-(2**63), 2**63 - 1, (bits,), generator=random)

    @classmethod
    def of(cls, experiment: Experiment, info: EnvironmentInfo) -> ExplorationBonus | None:
        """The bonus of an experiment's workers, or None."""
        if experiment.exploration_bonus == "none":
            return None
        frame = NewestFrame.of(info)
        features = ScaledVectors(info.observation_space) if frame is None else SmallImages(frame)
        return cls(features, experiment.bonus_scale, experiment.hash_bits, experiment.seed)

    def add(self, rollout: Rollout, visits_with: Callable[[Tensor], Tensor]) -> None:
        """Adds the bonuses of a rollout's steps to its rewards in place; dummy steps have none.

        Args:
            rollout: The rollout.
            visits_with: Adds visits of cells [N] to those of all workers, and gives the number of visits of each [N].
        """
        reached = tree_map(lambda rows: rows[1:][rollout.valid], split_mask(rollout.observations)[0])  # [N, ...]
        visits = visits_with(self.cells(reached))
        rollout.rewards[rollout.valid] += self.scale * visits.to(torch.float32).rsqrt()

    def cells(self, observations: Any) -> Tensor:
        """The cells [N] in which observations [N, ...] are counted."""
        return cells_of(simhash(self.features(observations), self.hyperplanes), self.keys, SIZE)


class Features(Protocol):
    """What is hashed: g in the paper."""

    @property
    def size(self) -> int:
        """Number of components [D]."""
        ...

    def __call__(self, observations: Any) -> Tensor:
        """Observations [N, ...] as vectors [N, D], float32."""
        ...


class SmallImages:
    """The intensities of the newest frame, which is made grey and small if it is larger than 52 pixels.

    Other parts of a Dict observation do not count.
    """

    def __init__(self, frame: NewestFrame) -> None:
        self.frame = frame
        self.is_large = max(frame.height, frame.width) > SIDE
        self.rows, self.columns = (_means(length, min(length, SIDE)) for length in (frame.height, frame.width))
        self.size = len(self.rows) * len(self.columns) * (1 if self.is_large else frame.channels)

    def __call__(self, observations: Any) -> Tensor:
        """Images [N, ...] as vectors [N, D]."""
        images = self.frame.intensities(self.frame.pixels(observations))
        if self.is_large:
            images = self.rows @ images.mean(-1) @ self.columns.T
        return images.flatten(1)


class ScaledVectors:
    """All components of observations without images, and a constant, which lets hyperplanes pass beside the origin.

    Components with finite bounds are scaled to ±1, so that each of them counts. The last action and reward are left
    out.
    """

    def __init__(self, space: Space[Any]) -> None:
        seen = unmasked_space(space)
        parts = dict(seen.spaces) if isinstance(seen, Dict) else {"": seen}
        self.keys = [key for key in parts if key not in (LAST_ACTION, LAST_REWARD)]
        boxes = [part for key in self.keys if isinstance(part := parts[key], Box)]
        low, high = (
            torch.from_numpy(np.concatenate([bound.ravel() for bound in bounds]).astype(np.float32))
            for bounds in ([box.low for box in boxes], [box.high for box in boxes])
        )
        bounded = (low > -LARGEST) & (high < LARGEST) & (low < high)
        self.centre = torch.where(bounded, (low + high) / 2, 0.0)
        self.half = torch.where(bounded, (high - low) / 2, 1.0)
        self.size = len(low) + 1

    def __call__(self, observations: Any) -> Tensor:
        """Observations [N, ...] as vectors [N, D]."""
        parts = [observations[key] for key in self.keys] if isinstance(observations, Mapping) else [observations]
        vectors = torch.cat([part.flatten(1).to(torch.float32) for part in parts], -1)
        return torch.cat([(vectors - self.centre) / self.half, torch.ones(len(vectors), 1)], -1)


def _means(length: int, parts: int) -> Tensor:
    """A matrix [parts, length] that averages vectors over windows of about equal length, as adaptive pooling does."""
    return torch.nn.functional.adaptive_avg_pool1d(torch.eye(length), parts).T
