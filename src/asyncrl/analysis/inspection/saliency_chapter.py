"""The saliency of some states, laid over what the agent saw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import zoom

from asyncrl.analysis.drawing import draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, Picture, Subject
from asyncrl.analysis.inspection.notable_states import largest
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.inspection.saliency import (
    Map,
    Saliency,
    by_gradient,
    by_perturbation,
    is_channels_first,
    spaces_of,
)
from asyncrl.analysis.labels import observation_names
from asyncrl.analysis.picture import COLOURS

Method = Callable[[Recording, int, str], Saliency]
SHADES = {"policy": (0.2, 0.5, 1.0), "value": (1.0, 0.3, 0.1)}
"""The colours in which saliency is laid over images."""

STATES = 4
"""Number of states whose saliency is laid over their images."""
VECTOR_STATES = 200
"""Number of states over which the saliency of vectors is averaged."""
MOST_ENTRIES = 40
"""Number of a vector's entries that are shown: the most important ones."""


def show_saliency(subject: Subject) -> Chapter:
    """Shows what the policy and the value depend on, by perturbation and by gradients."""
    recording = subject.recording
    methods = [
        ("perturbation", by_perturbation, "By perturbation: how much the outputs change if this place is changed")
    ]
    note = ""
    try:
        for key in spaces_of(subject.agent):
            by_gradient(recording, 0, key)
        methods.append(
            ("gradients", by_gradient, "By gradients: how strongly the outputs react to a very small change")
        )
    except RuntimeError as error:
        note = f" The network is not differentiable by its observation ({str(error).splitlines()[0]})."
    pictures: list[Picture] = []
    for number, (key, space) in enumerate(spaces_of(subject.agent).items()):
        draw = _draw_vector if len(space.shape) == 1 else _draw_maps
        for name, method, how in methods:
            file = f"saliency_{name}" + (f"_{number}" if key else "")
            pictures.append(Picture(file, draw(subject, key, method), f"{key}: {how}" if key else how))
    outputs = "the policy and to the value" if recording.readout.has_value else "the policy"
    streams = " (the advantage stream and the value stream)" if recording.readout.dueling else ""
    return Chapter(
        f"Which parts of the observation matter to {outputs}{streams}. Images are shown for the states of highest "
        f"and lowest value and advantage. For vectors, each bar is a mean over many states.{note}",
        tuple(pictures),
    )


def _draw_maps(subject: Subject, key: str, method: Method) -> Figure:
    recording, space = subject.recording, spaces_of(subject.agent)[key]
    numbers = _states(recording)
    height, width = space.shape[1:] if is_channels_first(space) else space.shape[:2]
    rows = ("policy", "value") if recording.readout.has_value else ("policy",)
    row_height = min(2.6, 9 / STATES * height / width)
    with drawing(9, len(rows) * row_height + 0.5, len(rows), STATES) as (figure, grid):
        for column in range(STATES):
            if column >= len(numbers):
                for axes in grid[:, column]:
                    axes.set_visible(False)
                continue
            maps = method(recording, numbers[column], key)
            image = _grey_image(recording, numbers[column], key)
            for axes, what in zip(grid[:, column], rows, strict=True):
                title = recording.place(numbers[column]) if what == "policy" else ""
                draw_image(axes, overlay(image, getattr(maps, what), SHADES[what]), title)
                if not column:
                    axes.set_ylabel(what)
        return figure


def overlay(image: NDArray[np.float32], saliency: Map, colour: tuple[float, float, float]) -> NDArray[np.float32]:
    """Lays a map over a grey image [H, W] in [0, 1]; the most salient place gets the full colour [H, W, 3]."""
    sized = zoom(
        saliency,
        (image.shape[0] / saliency.shape[0], image.shape[1] / saliency.shape[1]),
        order=1,
        grid_mode=True,
        mode="nearest",
    )
    strongest = sized.max()
    share = (sized / strongest)[..., None] if strongest > 0 else np.zeros((*image.shape, 1))
    shaded = 0.15 + 0.6 * image[..., None]
    return np.asarray(np.clip(shaded * (1 - 0.9 * share) + np.asarray(colour) * 0.9 * share, 0, 1), np.float32)


def _grey_image(recording: Recording, number: int, key: str) -> NDArray[np.float32]:
    """An observation as a grey image in [0, 1]: the newest frame of a stack, or all channels in one."""
    space, observation = spaces_of(recording.agent)[key], recording.observations([number])
    array = np.asarray((observation[key] if key else observation)[0], np.float32)
    if is_channels_first(space):
        array = np.moveaxis(array, 0, -1)
    if array.ndim > 2:
        channels = array.reshape(*array.shape[:2], -1)
        stacked = space.dtype == np.uint8 and channels.shape[-1] != 3
        array = channels[..., -1] if stacked else channels.mean(-1) if channels.shape[-1] == 3 else channels.max(-1)
    lowest, highest = float(array.min()), float(array.max())
    return (array - lowest) / ((highest - lowest) or 1.0)


def _draw_vector(subject: Subject, key: str, method: Method) -> Figure:
    recording = subject.recording
    policy, value = mean_saliency(recording, method, VECTOR_STATES, key)
    shown_maps = [("policy", policy)] if value is None else [("policy", policy), ("value", value)]
    own = observation_names(subject.agent.info, len(policy)) if not key else None
    names = own or tuple(f"{key} {number}" for number in range(len(policy)))
    shown = np.sort(np.argsort(-sum(relative(found) for _, found in shown_maps))[:MOST_ENTRIES])
    with drawing(4.5 * len(shown_maps), 0.8 + 0.22 * len(shown), 1, len(shown_maps), sharey=True) as (figure, [row]):
        for axes, (what, found), colour in zip(row, shown_maps, COLOURS, strict=False):
            axes.barh(range(len(shown)), relative(found)[shown], color=colour)
            axes.set_title(what)
            axes.set_xticks([])
        row[0].set_yticks(range(len(shown)), [names[entry] for entry in shown])
        row[0].invert_yaxis()
        return figure


def mean_saliency(recording: Recording, method: Method, states: int, key: str = "") -> tuple[Map, Map | None]:
    """The saliency of a vector for policy and value: the mean over a number of states."""
    numbers = np.unique(np.linspace(0, len(recording) - 1, states).astype(int))
    maps = [method(recording, int(number), key) for number in numbers]
    values = [one.value for one in maps if one.value is not None]
    return np.mean([one.policy for one in maps], 0), np.mean(values, 0) if values else None


def relative(saliency: Map) -> Map:
    """The map divided by its largest entry."""
    return np.asarray(saliency / (saliency.max() or 1.0))


def _states(recording: Recording) -> list[int]:
    """The states of highest and lowest value and advantage; without values, some that are evenly spaced."""
    if recording.reading.values is None:
        return list(np.linspace(0, len(recording) - 1, STATES).astype(int))
    values = recording.reading.values
    advantages = recording.returns - values
    chosen: list[int] = []
    for order in (values, -values, advantages, -advantages):
        chosen += [number for number in largest(order, STATES) if number not in chosen][:1]
    return chosen
