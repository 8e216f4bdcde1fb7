"""Histograms of parameter tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 50
"""Number of bins."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins of equal width, with the sums that give mean and standard deviation."""

    counts: NDArray[np.int64]  # [N]
    edges: NDArray[np.float64]  # [N+1]
    minimum: float
    maximum: float
    total: float
    total_of_squares: float


def histogram_of(values: NDArray[Any]) -> Histogram | None:
    """The histogram of the finite entries; None if no entry is finite."""
    numbers = np.asarray(values, np.float64).ravel()
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return None
    counts, edges = np.histogram(numbers, BINS)
    return Histogram(
        counts.astype(np.int64),
        edges,
        float(numbers.min()),
        float(numbers.max()),
        float(numbers.sum()),
        float(np.square(numbers).sum()),
    )
