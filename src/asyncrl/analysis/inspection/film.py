"""Episodes as a film, with what the agent said at each step beside it."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.episode import write_video
from asyncrl.analysis.inspection.chapter import Chapter, Picture, Subject, plain
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.picture import COLOURS

SHORT, SLOW = 300, 8.0
"""A film of fewer steps shows no more than so many of them a second, so that it can be followed."""
MOST_LINES = 8
"""Preferences drawn over time; the others are only shown as bars."""
WORDS = {
    "probabilities": ("action probabilities", "probabilities"),
    "action values": ("action values (Q)", "action values"),
    "distribution": ("means of the action", "means"),
}
"""What preferences are called, in a text and beside an axis."""


def show_film(subject: Subject, folder: Path) -> Chapter:
    """Writes `episode.mp4` into a folder and puts it into the report, in step with the curves.

    Raises:
        UserError: The film cannot be written.
    """
    recording, path = subject.recording, folder / "episode.mp4"
    part = recording.film
    steps = part.stop
    rate = recording.rate if steps >= SHORT else min(recording.rate, SLOW)
    write_video((recording.frame(number) for number in range(steps)), path, rate)
    figure, box = _draw(recording, part)
    episodes = int(recording.episode[:steps].max()) + 1
    whole = sum(recording.ends[:episodes])
    what = WORDS[recording.readout.kind][0] + (", value" if recording.reading.values is not None else "")
    length = f"{steps:,} steps" + (
        f", {whole} whole episodes" if whole > 1 else "" if whole else ", cut before the episode's end"
    )
    return Chapter(
        "An episode",
        f"What it sees, does and expects: {what} and rewards, in step ({length}). "
        "Click into the curves to go there; space stops and starts.",
        (Picture("episode", figure),),
        "film",
        {
            "video": "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode(),
            "rate": rate,
            "names": recording.readout.names,
            "kind": recording.readout.kind,
            "sizes": recording.readout.sizes,
            "preferences": plain(recording.reading.preferences[part]),
            "values": None if recording.reading.values is None else plain(recording.reading.values[part]),
            "rewards": plain(recording.rewards[part]),
            "totals": plain(_totals(recording)[part]),
            "left": box[0],
            "right": box[1],
        },
    )


def _totals(recording: Recording) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Rewards of each state's episode before it [N]."""
    totals = np.zeros(len(recording))
    for number in range(1, len(recording)):
        if recording.episode[number] == recording.episode[number - 1]:
            totals[number] = totals[number - 1] + recording.rewards[number - 1]
    return totals


def _draw(recording: Recording, part: slice) -> tuple[Figure, tuple[float, float]]:
    """The curves, and where their axes begin and end, as shares of the figure's width."""
    drawers = [(_draw_preferences, 2.0), (_draw_rewards, 0.7)]
    if recording.reading.values is not None:
        drawers.insert(0, (_draw_values, 2.0))
    heights = [height for _, height in drawers]
    with drawing(9, 0.9 * sum(heights), len(drawers), 1, sharex=True, height_ratios=heights) as (figure, grid):
        for (draw, _), axes in zip(drawers, grid[:, 0], strict=True):
            draw(axes, recording, part)
            axes.set_xlim(-0.5, part.stop - 0.5)
            for start in np.flatnonzero(np.diff(recording.episode[part])):
                axes.axvline(start + 0.5, color="0.5", linewidth=0.6, linestyle=":")
        axes.set_xlabel("step")
    box = axes.get_position()
    return figure, (float(box.x0), float(box.x1))


def _draw_values(axes: Axes, recording: Recording, part: slice) -> None:
    assert recording.reading.values is not None
    axes.plot(recording.reading.values[part], color=COLOURS[0], linewidth=1.2, label="value")
    axes.plot(recording.returns[part], color=COLOURS[1], linewidth=0.9, alpha=0.7, label="return that followed")
    axes.set_ylabel("value")
    _name(axes)


def _draw_preferences(axes: Axes, recording: Recording, part: slice) -> None:
    """Probabilities as layers of one, others as lines."""
    readout, preferences = recording.readout, recording.reading.preferences[part]
    axes.set_ylabel(WORDS[readout.kind][1])
    if readout.kind == "probabilities" and len(readout.sizes) == 1:
        likely = np.sort(np.argsort(-preferences.mean(0))[:MOST_LINES])
        layers = {readout.names[number]: preferences[:, number] for number in likely}
        if len(likely) < preferences.shape[1]:
            layers["others"] = 1 - preferences[:, likely].sum(1)
        axes.stackplot(
            np.arange(part.stop), *layers.values(), colors=[*COLOURS, "0.7"], labels=list(layers), linewidth=0
        )
        axes.set_ylim(0, 1)
    else:
        for number, colour in zip(np.sort(np.argsort(-preferences.std(0))[:MOST_LINES]), COLOURS, strict=False):
            axes.plot(preferences[:, number], color=colour, linewidth=1.0, label=readout.names[number])
    _name(axes)


def _draw_rewards(axes: Axes, recording: Recording, part: slice) -> None:
    rewards = recording.rewards[part]
    colours = np.where(rewards < 0, COLOURS[1], COLOURS[2])
    axes.bar(np.arange(part.stop), rewards, width=max(1.0, part.stop / 400), color=colours)
    axes.set_ylabel("reward")


def _name(axes: Axes) -> None:
    """Names the lines, beside the curves."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1), fontsize=7)
