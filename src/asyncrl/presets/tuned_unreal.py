"""UNREAL's part of the tuned presets: A3C's settings, and weights of the auxiliary tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.unreal import Unreal
from asyncrl.config import Experiment

PIXEL_CONTROL = {"catch": 0.01, "minatar": 0.01, "atari": 0.001, "images": 0.01}
"""Weight of pixel control by the task; other tasks show no images."""


def on_top_of(a3c: Callable[[str], Experiment], task: str, environment: str) -> Experiment:
    """A3C's settings with auxiliary tasks, for which policy and value share a network."""
    experiment = a3c(environment)
    optimizer = experiment.optimizer
    shared = {field.name: getattr(experiment.algorithm, field.name) for field in fields(A3C)}
    return replace(
        experiment,
        algorithm=Unreal(**shared, pixel_control=PIXEL_CONTROL.get(task, 0.0)),
        network=replace(experiment.network, separate=False),
        optimizer=replace(optimizer, max_gradient_norm=4 * optimizer.max_gradient_norm),  # of a sum of more losses
    )
