"""The weights of the first layer: what the network looks for in its observations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from asyncrl.analysis.drawing import draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.labels import observation_names
from asyncrl.networks.side_by_side import SideBySide
from asyncrl.networks.torso import DictTorso, ImageTorso, VectorTorso

MOST_UNITS = 32
"""Number of units shown: the first filters of a convolution, else the units with the largest weights."""
MOST_INPUTS = 40
"""With more inputs than this, their names are left out."""


def show_filters(subject: Subject) -> Chapter:
    """Shows a picture for each torso of the network.

    Raises:
        NotShownError: All torsos are the user's own.
    """
    pictures: list[Picture] = []
    heads = subject.agent.network.body_of
    for number, body in enumerate(subject.agent.network.bodies):
        users = "/".join(head for head, its_body in heads.items() if its_body == number)
        for key, torso in _torsos(body.torso):
            figure = _draw(torso, subject)
            if figure is not None:
                parts = [key, "" if len(subject.agent.network.bodies) == 1 else f"used by the {users}"]
                pictures.append(Picture(f"filters_{len(pictures)}", figure, ", ".join(filter(None, parts))))
    if not pictures:
        raise NotShownError("its network has no torso of asyncrl")
    return Chapter(
        "Each unit of the first layer computes a weighted sum of its inputs. Orange weights are positive, purple ones "
        "negative. For images, each column is a filter and each row one of the stacked frames or channels, with the "
        "oldest frame on top.",
        tuple(pictures),
    )


def _torsos(torso: Any) -> list[tuple[str, Any]]:
    if isinstance(torso, DictTorso):
        return list(zip(torso.keys, torso.torsos, strict=True))
    if isinstance(torso, SideBySide):
        return [
            (", ".join(filter(None, (f"action {number}", key))), part)
            for number, own in enumerate(torso.torsos)
            for key, part in _torsos(own)
        ]
    return [("", torso)]


def _draw(torso: Any, subject: Subject) -> Figure | None:
    if isinstance(torso, ImageTorso):
        weight = next(iter(torso.convolutions)).weight.detach().numpy()  # type: ignore[operator]
        return _draw_grid(weight[:MOST_UNITS])
    first = (
        next((layer for layer in torso.layers if isinstance(layer, nn.Linear)), None)
        if isinstance(torso, VectorTorso)
        else None
    )
    if first is None:
        return None
    weight = first.weight.detach().numpy()  # [units, inputs]
    largest = np.argsort(-np.abs(weight).sum(1))[:MOST_UNITS]
    shape: tuple[int, ...] = subject.agent.info.observation_space.shape or ()
    if len(shape) == 2 and shape[0] * shape[1] == weight.shape[1]:
        return _draw_grid(weight[largest].reshape(-1, 1, *shape))
    names = observation_names(subject.agent.info, weight.shape[1])
    return _draw_matrix(weight[largest], names)


def _draw_grid(weights: NDArray[np.float32]) -> Figure:
    """Draws weights [units, channels, height, width], each unit in its own colour scale."""
    units, channels = weights.shape[:2]
    columns = min(units, 16)
    rows = -(-units // columns) * channels
    with drawing(7, max(0.8, 7 / columns * rows * weights.shape[2] / weights.shape[3] + 0.2), rows, columns) as (
        figure,
        grid,
    ):
        for unit, channel in itertools.product(range(rows // channels * columns), range(channels)):
            axes = grid[unit // columns * channels + channel, unit % columns]
            if unit >= units:
                axes.set_visible(False)
                continue
            limit = np.abs(weights[unit]).max() or 1.0
            draw_image(axes, weights[unit, channel], cmap="PuOr_r", vmin=-limit, vmax=limit)
        return figure


def _draw_matrix(weights: NDArray[np.float32], names: tuple[str, ...]) -> Figure:
    """Draws weights [units, inputs]."""
    limit = np.abs(weights).max() or 1.0
    few = len(names) <= MOST_INPUTS
    with drawing(7, min(6.0, 1.2 + 0.2 * len(names)) if few else 4) as (figure, [[axes]]):
        drawn = axes.imshow(weights.T, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        if few:
            axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("units, those with the largest weights first")
        axes.set_ylabel("" if few else "inputs")
        figure.colorbar(drawn, label="weight", pad=0.01)
        return figure
