"""UNREAL's part of the tuned presets: A3C's settings, and weights of the auxiliary tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from asyncrl.algorithms.unreal import Unreal
from asyncrl.config import Experiment
from asyncrl.presets.tuned_a3c import with_algorithm

PIXEL_CONTROL = {"catch": 0.01, "minatar": 0.01, "atari": 0.001, "images": 0.01}
"""Weight of pixel control by the task; other tasks show no images."""


def on_top_of(a3c: Callable[[str], Experiment], task: str, environment: str) -> Experiment:
    """A3C's settings with auxiliary tasks, for which policy and value share a network."""
    experiment = with_algorithm(a3c(environment), Unreal, pixel_control=PIXEL_CONTROL.get(task, 0.0))
    optimizer = experiment.optimizer
    return replace(
        experiment,
        network=replace(experiment.network, separate=False),
        optimizer=replace(optimizer, max_gradient_norm=4 * optimizer.max_gradient_norm),  # of a sum of more losses
    )
