"""Value and policy over two dimensions of the observation, with all others at their median."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.decidedness import RANDOM_WARNING
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.inspection.saliency import by_perturbation
from asyncrl.analysis.inspection.saliency_chapter import mean_saliency, relative
from asyncrl.analysis.labels import observation_names
from asyncrl.analysis.picture import COLOURS
from asyncrl.analysis.readout import Reading, first_outputs

CELLS = 80
"""Number of cells along each side of the map."""
STATES = 100
"""Number of states from which the two most important dimensions are found."""
MOST_DOTS = 500
"""Number of visited states that are drawn, taken at random."""
MOST_NAMES = 16
"""Number of actions that are named beside their colours."""


def show_map(subject: Subject) -> Chapter:
    """Shows value and preferred action over two dimensions of the observation.

    Raises:
        NotShownError: Observations are not vectors of two or more real numbers.
    """
    recording, space = subject.recording, subject.agent.info.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1 or space.shape[0] < 2:
        raise NotShownError("its observation is not a vector of two or more numbers")
    if not np.issubdtype(space.dtype, np.floating):
        raise NotShownError("its observation consists of whole numbers, so there is nothing to draw between them")
    names = observation_names(subject.agent.info, space.shape[0])
    pair = subject.dimensions or most_important(recording)
    observed = recording.observations(slice(None)).numpy().astype(np.float64)  # [N, D]
    grid, sides = plane(observed, pair)
    reading = recording.readout.read(first_outputs(subject.agent, grid))
    chosen = "" if subject.dimensions else ", the two dimensions that matter most"
    others = "" if space.shape[0] == 2 else " All other dimensions are at their median over the states it visited."
    random = f" {RANDOM_WARNING}" if subject.decidedness.is_random else ""
    recurrent = " The recurrent state is that of an episode's start." if subject.is_recurrent else ""
    return Chapter(
        f"Drawn over {names[pair[0]]} and {names[pair[1]]}{chosen}.{others}{recurrent} Dots are states that the agent "
        f"visited.{random}",
        (
            Picture(
                "value_and_policy",
                _draw(recording, reading, sides, observed[:, list(pair)], (names[pair[0]], names[pair[1]])),
            ),
        ),
    )


def most_important(recording: Recording) -> tuple[int, int]:
    """The numbers of the two dimensions that policy and value depend on most, by perturbation, in rising order."""
    found = mean_saliency(recording, by_perturbation, STATES)
    total = relative(found.policy) + (0 if found.value is None else relative(found.value))
    first, second = sorted(np.argsort(-total)[:2].tolist())
    return first, second


def plane(
    observed: NDArray[np.float64], pair: tuple[int, ...]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Vectors [CELLS², D] that span two dimensions of the observed ones [N, D], and the two axes' values [CELLS]."""
    sides = []
    for dimension in pair:
        low, high = np.quantile(observed[:, dimension], [0.01, 0.99])
        margin = 0.25 * (high - low) or 0.5
        sides.append(np.linspace(low - margin, high + margin, CELLS))
    grid = np.tile(np.median(observed, 0), (CELLS * CELLS, 1))
    horizontal, vertical = np.meshgrid(*sides)
    grid[:, pair[0]], grid[:, pair[1]] = horizontal.ravel(), vertical.ravel()
    return grid, sides


def _draw(
    recording: Recording,
    reading: Reading,
    sides: list[NDArray[np.float64]],
    visited: NDArray[np.float64],
    labels: tuple[str, str],
) -> Figure:
    panels = 1 + (reading.values is not None)
    extent = (*sides[0][[0, -1]], *sides[1][[0, -1]])
    options: dict[str, Any] = {"origin": "lower", "extent": extent, "aspect": "auto"}
    with drawing(9 if panels == 2 else 5, 3.8, 1, panels) as (figure, [row]):
        if reading.values is not None:
            drawn = row[0].imshow(reading.values.reshape(CELLS, CELLS), **options)
            figure.colorbar(drawn, label="value (training units)", pad=0.01)
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
        dots = np.random.default_rng(0).permutation(visited)[:MOST_DOTS]  # every second state may be the same again
        for one in row:
            one.plot(*dots.T, ".", color="white", markersize=1.5, alpha=0.6)
            one.set_xlim(extent[:2])
            one.set_ylim(extent[2:])
            one.set_xlabel(labels[0])
            one.set_ylabel(labels[1])
        return figure
