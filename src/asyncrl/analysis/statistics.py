"""Scores over seeds: interquartile mean and bootstrap intervals (Agarwal et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
"""Number of bootstrap samples."""


def interquartile_mean(scores: Any, axis: int = 0) -> NDArray[np.float64]:
    """Mean of the middle half of the scores [N, ...] along an axis; the plain mean of fewer than four."""
    import scipy.stats  # the import takes a second, and most pictures do not need it

    return np.asarray(scipy.stats.trim_mean(np.asarray(scores, float), 0.25, axis=axis))


def bootstrap_interval(scores: Any, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap interval of the interquartile mean, resampling the N runs with replacement.

    Args:
        scores: Scores [N, ...]; N = 1 gives an interval of width zero.
        confidence: Probability of the interval.

    Returns:
        Lower and upper end, each [...].
    """
    scores = np.asarray(scores, float)
    if len(scores) < 2:
        return scores[0], scores[0]
    import scipy.stats

    result = scipy.stats.bootstrap(
        (scores,),
        interquartile_mean,
        axis=0,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    interval = result.confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)
