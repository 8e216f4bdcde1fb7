"""Saliency laid over what the agent saw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gymnasium.spaces import Box
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import zoom

from asyncrl.analysis.drawing import draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.moments import stand_out
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.inspection.saliency import Map, Saliency, by_gradient, by_perturbation, spaces_of
from asyncrl.analysis.picture import COLOURS
from asyncrl.envs.meanings import observation_names
from asyncrl.networks.torso import channels_last, is_image

Method = Callable[[Recording, int], Saliency]

STATES = 4
"""Whose saliency is shown."""
VECTOR_STATES = 200
"""States over which the saliency of vectors is averaged."""
MOST_ENTRIES = 40


def show_saliency(subject: Subject) -> Chapter:
    """What the policy and the value look at, by perturbation and by gradients.

    Raises:
        NotShownError: captum is missing, or the network has no gradient by its input.
    """
    recording = subject.recording
    try:
        by_gradient(recording, 0)
    except ImportError:
        raise NotShownError('it needs a package that is not installed: pip install "asyncrl[analysis]"') from None
    except (RuntimeError, AssertionError) as error:
        raise NotShownError(f"its network has no gradient by what it sees ({str(error).splitlines()[0]})") from None
    pictures: list[Picture] = []
    for key, part in spaces_of(subject.agent).items():
        draw = _draw_vector if len(part.shape) == 1 else _draw_maps
        for name, method, how in (
            ("perturbation", by_perturbation, "by perturbation: what changes if this place is blurred or replaced"),
            ("gradients", by_gradient, "by gradients: what the smallest change would do"),
        ):
            figure = draw(subject, key, method)
            where = f"{key}, " if key else ""
            pictures.append(
                Picture(f"saliency_{name}{'_' * bool(key)}{key.replace('/', '-')}", figure, f"{where}{how}")
            )
    streams = recording.readout.dueling
    names = "the advantage stream (what to do) and the value stream" if streams else "the policy and the value"
    return Chapter(
        "What it looks at",
        f"What matters to {names}, apart. Of images: the states of the highest and lowest value and advantage; of "
        "vectors: the mean over many states.",
        tuple(pictures),
    )


def _draw_maps(subject: Subject, key: str, method: Method) -> Figure:
    recording, space = subject.recording, spaces_of(subject.agent)[key]
    numbers = _states(recording)
    height, width = space.shape[:2] if not is_image(space) or channels_last(space) else space.shape[1:]
    row_height = min(2.6, 9 / STATES * height / width)
    with drawing(9, 2 * row_height + 0.5, 2, STATES) as (figure, grid):
        for column in range(STATES):
            if column >= len(numbers):
                for axes in grid[:, column]:
                    axes.set_visible(False)
                continue
            number = numbers[column]
            maps = method(recording, number)
            seen = _seen(recording, number, key, space)
            for axes, (what, of, colour) in zip(
                grid[:, column],
                (("policy", maps.policy[key], (0.2, 0.5, 1.0)), ("value", maps.value[key], (1.0, 0.3, 0.1))),
                strict=True,
            ):
                title = recording.place(number) if what == "policy" else ""
                draw_image(axes, overlay(seen, of, colour), title)
                if not column:
                    axes.set_ylabel(what)
        return figure


def overlay(image: NDArray[np.float32], saliency: Map, colour: tuple[float, float, float]) -> NDArray[np.float32]:
    """A grey image [H, W] in [0, 1] with a map over it, the strongest place in full colour [H, W, 3]."""
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


def _seen(recording: Recording, number: int, key: str, space: Box) -> NDArray[np.float32]:
    """The newest frame of an observation, or all channels in one, as a grey image in [0, 1]."""
    observation = recording.observations([number])
    array = np.asarray((observation[key] if key else observation)[0], np.float32)
    if array.ndim == 3:
        array = array if channels_last(space) else np.moveaxis(array, 0, -1)
        array = (
            array.mean(-1)
            if array.shape[-1] == 3
            else array[..., -1]
            if array.shape[-1] == 4 and array.max() > 1
            else array.max(-1)
        )
    lowest, highest = float(array.min()), float(array.max())
    return (array - lowest) / ((highest - lowest) or 1.0)


def _draw_vector(subject: Subject, key: str, method: Method) -> Figure:
    recording = subject.recording
    numbers = np.unique(np.linspace(0, len(recording) - 1, VECTOR_STATES).astype(int))
    maps = [method(recording, int(number)) for number in numbers]
    policy, value = (np.mean([getattr(one, of)[key] for one in maps], 0) for of in ("policy", "value"))
    names = (
        observation_names(subject.agent.info, len(policy))
        if not key
        else tuple(f"{key} {n}" for n in range(len(policy)))
    )
    shown = np.sort(np.argsort(-(policy / (policy.max() or 1) + value / (value.max() or 1)))[:MOST_ENTRIES])
    with drawing(9, 0.8 + 0.22 * len(shown), 1, 2, sharey=True) as (figure, [row]):
        for axes, what, numbers_, colour in zip(row, ("policy", "value"), (policy, value), COLOURS, strict=False):
            axes.barh(range(len(shown)), (numbers_ / (numbers_.max() or 1))[shown], color=colour)
            axes.set_title(what)
            axes.set_xticks([])
            axes.set_yticks(range(len(shown)), [names[entry] for entry in shown])
            axes.invert_yaxis() if axes is row[0] else None
        return figure


def _states(recording: Recording) -> list[int]:
    """The states of the highest and lowest value and advantage; without values, some that lie apart."""
    if recording.reading.values is None:
        return list(np.linspace(0, len(recording) - 1, STATES).astype(int))
    values = recording.reading.values
    advantages = recording.returns - values
    chosen: list[int] = []
    for order in (values, -values, advantages, -advantages):
        chosen += [place for place in stand_out(order, STATES) if place not in chosen][:1]
    return chosen
