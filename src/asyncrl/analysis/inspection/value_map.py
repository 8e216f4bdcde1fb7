"""Value and policy over two dimensions of the observation, all others as they usually are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.inspection.saliency import by_perturbation
from asyncrl.analysis.inspection.saliency_chapter import mean_saliency, relative
from asyncrl.analysis.picture import COLOURS
from asyncrl.analysis.readout import Reading
from asyncrl.envs.meanings import observation_names

CELLS = 80
"""Along each side."""
STATES = 100
"""Over which the two dimensions that matter most are found."""
MOST_NAMES = 16
"""Beside the colours of actions."""


def show_map(subject: Subject) -> Chapter:
    """Value and preferred action over two dimensions.

    Raises:
        NotShownError: Observations are no vectors, or of one dimension.
    """
    recording, space = subject.recording, subject.agent.info.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1 or space.shape[0] < 2:
        raise NotShownError("what it observes is no vector of two or more numbers")
    if not np.issubdtype(space.dtype, np.floating):
        raise NotShownError("the numbers it observes are whole ones, with nothing in between")
    names = observation_names(subject.agent.info, space.shape[0])
    pair = subject.dimensions or most_important(recording)
    observed = recording.observations(slice(None)).numpy().astype(np.float64)  # [N, D]
    grid, sides = plane(observed, pair)
    reading = _read(recording, grid, space)
    usual = "" if space.shape[0] == 2 else "; all others are at their median over the states it met"
    chosen = "" if subject.dimensions else ", the two that matter most"
    memory = "; as at an episode's start, when it remembers nothing" if subject.is_recurrent else ""
    return Chapter(
        "Value and policy over two dimensions",
        f"Over {names[pair[0]]} and {names[pair[1]]}{chosen}{usual}{memory}. Dots are states it met.",
        (
            Picture(
                "value_and_policy",
                _draw(recording, reading, sides, observed[:, list(pair)], (names[pair[0]], names[pair[1]])),
            ),
        ),
    )


def most_important(recording: Recording) -> tuple[int, int]:
    """The two dimensions that policy and value depend on most, by perturbation, in rising order."""
    policy, value = mean_saliency(recording, by_perturbation, STATES)
    total = relative(policy) + (0 if value is None else relative(value))
    first, second = sorted(np.argsort(-total)[:2].tolist())
    return first, second


def plane(
    observed: NDArray[np.float64], pair: tuple[int, ...]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Vectors [CELLS², D] over the range in which most observed ones [N, D] lie, and the two axes' values [CELLS]."""
    sides = []
    for dimension in pair:
        low, high = np.quantile(observed[:, dimension], [0.01, 0.99])
        margin = 0.25 * (high - low) or 0.5
        sides.append(np.linspace(low - margin, high + margin, CELLS))
    grid = np.tile(np.median(observed, 0), (CELLS * CELLS, 1))
    horizontal, vertical = np.meshgrid(*sides)
    grid[:, pair[0]], grid[:, pair[1]] = horizontal.ravel(), vertical.ravel()
    return grid, sides


def _read(recording: Recording, grid: NDArray[np.float64], space: Box) -> Reading:
    network = recording.agent.network
    rows = torch.from_numpy(grid.astype(space.dtype))[None]
    first = torch.ones(1, len(grid), dtype=torch.bool)
    with torch.no_grad():
        outputs, _ = network(rows, network.initial_state(len(grid)), first)
    return recording.readout.read(outputs)


def _draw(
    recording: Recording,
    reading: Reading,
    sides: list[NDArray[np.float64]],
    met: NDArray[np.float64],
    labels: tuple[str, str],
) -> Figure:
    panels = 1 + (reading.values is not None)
    extent = (*sides[0][[0, -1]], *sides[1][[0, -1]])
    options: dict[str, Any] = {"origin": "lower", "extent": extent, "aspect": "auto"}
    with drawing(9 if panels == 2 else 5, 3.8, 1, panels) as (figure, [row]):
        if reading.values is not None:
            drawn = row[0].imshow(reading.values.reshape(CELLS, CELLS), **options)
            figure.colorbar(drawn, label="value", pad=0.01)
        axes = row[-1]
        if recording.readout.kind == "distribution":
            drawn = axes.imshow(reading.preferences[:, 0].reshape(CELLS, CELLS), cmap="PuOr_r", **options)
            figure.colorbar(drawn, label=f"mean of {recording.readout.names[0]}", pad=0.01)
        else:
            size = recording.readout.sizes[0]
            named = range(0, size, -(-size // MOST_NAMES))
            best = reading.preferences[:, :size].argmax(-1).reshape(CELLS, CELLS)
            colours = ListedColormap([COLOURS[number % len(COLOURS)] for number in range(size)])
            drawn = axes.imshow(best, cmap=colours, norm=BoundaryNorm(np.arange(size + 1) - 0.5, size), **options)
            bar = figure.colorbar(drawn, ticks=list(named), pad=0.01)
            bar.ax.set_yticklabels([recording.readout.names[number] for number in named])
            bar.ax.set_title("preferred", fontsize=8)
        for one in row:
            one.plot(*met[:: max(1, len(met) // 500)].T, ".", color="white", markersize=1.5, alpha=0.6)
            one.set_xlim(extent[:2])
            one.set_ylim(extent[2:])
            one.set_xlabel(labels[0])
            one.set_ylabel(labels[1])
        return figure
