"""The saliency of some states, laid over what the agent saw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import zoom

from asyncrl.analysis.drawing import MARK, draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, Picture, Subject
from asyncrl.analysis.inspection.decidedness import RANDOM_WARNING
from asyncrl.analysis.inspection.notable_states import largest
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.inspection.saliency import (
    Map,
    Saliency,
    by_gradient,
    by_perturbation,
    is_channels_first,
    names_for,
    spaces_of,
)
from asyncrl.analysis.inspection.saliency_agreement import why_they_disagree
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
ACCIDENTS = "As long as the policy has learned nothing, what it depends on is an accident of its initial parameters."
FADED = 0.3
"""Opacity of saliency that is not to be read, because the policy is still random."""


def show_saliency(subject: Subject) -> Chapter:
    """Shows what the policy and the value depend on, by perturbation and by gradients."""
    recording = subject.recording
    methods: dict[str, tuple[Method, str]] = {
        "perturbation": (by_perturbation, "By perturbation: how much the outputs change if this place is changed")
    }
    is_random = subject.decidedness.is_random
    notes = [f"{RANDOM_WARNING} {ACCIDENTS}"] if is_random else []
    try:
        for key in spaces_of(subject.agent):
            by_gradient(recording, 0, key)
        methods["gradients"] = (by_gradient, "By gradients: how strongly the outputs react to a very small change")
    except RuntimeError as error:
        notes.append(f"The network is not differentiable by its observation ({str(error).splitlines()[0]}).")
    pictures: list[Picture] = []
    has_images = False
    for number, (key, space) in enumerate(spaces_of(subject.agent).items()):
        is_vector = len(space.shape) == 1
        has_images |= not is_vector
        states = [] if is_vector else _states(recording)
        found = {
            name: [mean_saliency(recording, method, VECTOR_STATES, key)]
            if is_vector
            else [method(recording, state, key) for state in states]
            for name, (method, _) in methods.items()
        }
        for name, (_, how) in methods.items():
            figure = (
                _draw_vector(subject, key, found[name][0])
                if is_vector
                else _draw_maps(subject, key, states, found[name])
            )
            file = f"saliency_{name}" + (f"_{number}" if key else "")
            pictures.append(Picture(file, figure, f"{key}: {how}" if key else how))
        if (
            len(found) > 1
            and not is_random
            and (reason := why_they_disagree(found["perturbation"], found["gradients"], names_for(recording)))
        ):
            notes.append(f"{key}: {reason}" if key else reason)
    names = names_for(recording)
    outputs = f"the {names['policy']}" + (f" and to the {names['value']}" if recording.readout.has_value else "")
    how_shown = (
        "Images are shown for the states of highest and lowest value and advantage. All moments in a row share one "
        "scale: full colour is the strongest saliency among them, so a picture with little colour shows a moment at "
        "which little mattered."
        if has_images
        else f"Each bar is a mean over up to {VECTOR_STATES} states, relative to the longest bar."
    )
    text = f"Which parts of the observation matter to {outputs}. {how_shown}"
    return Chapter(" ".join([text, *notes]), tuple(pictures))


def _draw_maps(subject: Subject, key: str, states: list[int], found: list[Saliency]) -> Figure:
    """Draws the saliency of some states over their images, with one scale for each row."""
    recording, space = subject.recording, spaces_of(subject.agent)[key]
    height, width = space.shape[1:] if is_channels_first(space) else space.shape[:2]
    rows = ("policy", "value") if recording.readout.has_value else ("policy",)
    row_height = min(2.6, 9 / STATES * height / width)
    with drawing(9, len(rows) * row_height + 0.8, len(rows), STATES) as (figure, grid):
        for axes in grid[:, len(states) :].flat:
            axes.set_visible(False)
        for row, what in zip(grid, rows, strict=True):
            row[0].set_ylabel(names_for(recording)[what])
            strongest = max(float(getattr(maps, what).max()) for maps in found)
            for axes, state, maps in zip(row, states, found, strict=False):
                image = _grey_image(recording, state, key)
                title = recording.place(state) if what == "policy" else ""
                shaded = overlay(image, getattr(maps, what), SHADES[what], strongest)
                draw_image(axes, shaded, title, alpha=_opacity(subject))
        _warn(figure, subject)
        return figure


def _warn(figure: Figure, subject: Subject) -> None:
    """Writes above a picture that its policy is still random, if it is."""
    if subject.decidedness.is_random:
        figure.suptitle(RANDOM_WARNING, x=0.01, ha="left", fontsize=10, color=MARK)


def _opacity(subject: Subject) -> float:
    return FADED if subject.decidedness.is_random else 1.0


def overlay(
    image: NDArray[np.float32], saliency: Map, colour: tuple[float, float, float], strongest: float
) -> NDArray[np.float32]:
    """Lays a map over a grey image [H, W] in [0, 1]; the strongest saliency gets the full colour [H, W, 3]."""
    sized = zoom(
        saliency,
        (image.shape[0] / saliency.shape[0], image.shape[1] / saliency.shape[1]),
        order=1,
        grid_mode=True,
        mode="nearest",
    )
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


def _draw_vector(subject: Subject, key: str, found: Saliency) -> Figure:
    shown_maps = [("policy", found.policy)] + ([] if found.value is None else [("value", found.value)])
    own = observation_names(subject.agent.info, len(found.policy)) if not key else None
    names = own or tuple(f"{key} {number}" for number in range(len(found.policy)))
    shown = np.sort(np.argsort(-sum(relative(saliency) for _, saliency in shown_maps))[:MOST_ENTRIES])
    with drawing(4.5 * len(shown_maps), 1.3 + 0.22 * len(shown), 1, len(shown_maps), sharey=True) as (figure, [row]):
        for axes, (what, saliency), colour in zip(row, shown_maps, COLOURS, strict=False):
            axes.barh(range(len(shown)), relative(saliency)[shown], color=colour, alpha=_opacity(subject))
            axes.set_title(names_for(subject.recording)[what])
            axes.set_xlim(0, 1.02)
            axes.set_xticks([0, 0.5, 1])
            axes.set_xlabel("relative to the most important entry")
        row[0].set_yticks(range(len(shown)), [names[entry] for entry in shown])
        row[0].invert_yaxis()
        _warn(figure, subject)
        return figure


def mean_saliency(recording: Recording, method: Method, states: int, key: str = "") -> Saliency:
    """The saliency of a vector for policy and value: the mean over a number of states."""
    numbers = np.unique(np.linspace(0, len(recording) - 1, states).astype(int))
    maps = [method(recording, int(number), key) for number in numbers]
    values = [one.value for one in maps if one.value is not None]
    return Saliency(np.mean([one.policy for one in maps], 0), np.mean(values, 0) if values else None)


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
