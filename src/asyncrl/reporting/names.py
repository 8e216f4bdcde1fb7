"""The names under which TensorBoard and trackers show what a run gives them."""

from collections.abc import Mapping
from typing import Any

from asyncrl import metrics
from asyncrl.types import Video

VIDEO = "evaluation/episode"
"""Name of the video of an evaluated episode."""
SUMMARY = ("status", "ended_by", metrics.BEST_RETURN_MEAN)
"""Entries of summary.json that trackers keep with the run."""


def grouped(line: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a line by group and name, such as `episodes/return_mean`.

    Metrics without a value are left out, and so are `steps`, which are the horizontal axis.
    """
    return {
        metrics.lookup(name).path: float(value)
        for name, value in line.items()
        if value is not None and name != metrics.STEPS
    }


def parameter(name: str) -> str:
    """The name of a parameter tensor's histogram; TensorBoard groups by what stands before the slash."""
    return f"parameters/{name}"


def caption(video: Video) -> str:
    """The text below the video of an episode."""
    return f"return {video.total_reward:g} in {video.length} steps"
