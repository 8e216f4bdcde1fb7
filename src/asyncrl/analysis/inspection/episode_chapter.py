"""A video of the first episodes, in step with curves of what the agent computed."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, Picture, Subject
from asyncrl.analysis.inspection.recording import Numbers, Recording
from asyncrl.analysis.json_numbers import json_numbers
from asyncrl.analysis.picture import COLOURS
from asyncrl.analysis.video import write_video

SHORT_VIDEO, SLOW_FPS = 300, 8.0
"""A video of fewer steps than the first shows at most the second number of steps per second, so that one can follow."""
MOST_LINES = 8
"""Preferences drawn over time: those that vary most. The others are shown as bars only."""
SMOOTH_FROM, SMOOTH_PARTS = 160, 40
"""Number of steps from which preferences are drawn as moving averages, because a picture cannot show so many, and the
number of averages that fit into the video side by side."""
PREFERENCE_NAMES = {
    "probabilities": ("action probabilities", "probabilities"),
    "action values": ("action values (Q)", "action values"),
    "distribution": ("means of the action", "means of\nthe action"),
}
"""The names of preferences by their kind: in a text, and beside an axis."""


def show_episode(subject: Subject, folder: Path) -> Chapter:
    """Writes `episode.mp4` into a folder and shows it in step with the curves.

    Raises:
        UserError: The video cannot be written.
    """
    recording, path = subject.recording, folder / "episode.mp4"
    part = recording.video_steps
    fps = recording.fps if part.stop >= SHORT_VIDEO else min(recording.fps, SLOW_FPS)
    write_video((recording.frame(number) for number in range(part.stop)), path, fps)
    figure, (left, right) = _draw(recording)
    values = recording.reading.values
    window = _window(part.stop)
    averages = (
        f" The {PREFERENCE_NAMES[recording.readout.kind][1]} are drawn as averages over {window} steps; the bars "
        "beside the video show every step."
        if window > 1
        else ""
    )
    masked = (
        " A masked action is drawn with the lowest value of the allowed ones."
        if recording.agent.info.masked and recording.readout.kind == "action values"
        else ""
    )
    curves = PREFERENCE_NAMES[recording.readout.kind][0] + ("" if values is None else ", value")
    return Chapter(
        f"What the agent sees, does and expects: {curves} and rewards ({_length(recording)}). "
        f"Click or tap the curves to go to a step.{averages}{masked}",
        (Picture("episode", figure),),
        "episode",
        {
            "video": "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode(),
            "poster": "data:image/jpeg;base64," + base64.b64encode(recording.steps[0].frame).decode(),
            "fps": fps,
            "names": recording.readout.names,
            "kind": recording.readout.kind,
            "sizes": recording.readout.sizes,
            "preferences": json_numbers(recording.reading.preferences[part]),
            "values": None if values is None else json_numbers(values[part]),
            "rewards": json_numbers(recording.rewards[part]),
            "totals": json_numbers(_rewards_so_far(recording)[part]),
            "left": left,
            "right": right,
        },
    )


def _window(steps: int) -> int:
    """Number of steps over which preferences are averaged for a drawing of so many steps."""
    return steps // SMOOTH_PARTS if steps >= SMOOTH_FROM else 1


def smoothed(preferences: Numbers, lengths: NDArray[np.int64], window: int) -> Numbers:
    """Moving averages of preferences [T, K] within each episode, whose lengths sum to T."""
    episodes = np.split(preferences, lengths.cumsum()[:-1])
    return np.concatenate([uniform_filter1d(episode, window, axis=0, mode="nearest") for episode in episodes])


def _length(recording: Recording) -> str:
    whole = sum(episode.is_whole for episode in recording.episodes[: recording.video_episodes])
    episodes = f", {whole} whole episodes" if whole > 1 else "" if whole else ", cut before the episode's end"
    return f"{recording.video_steps.stop:,} steps{episodes}"


def _rewards_so_far(recording: Recording) -> NDArray[np.float64]:
    """The sum of the rewards [N] before each step in its episode."""
    episodes = np.split(recording.rewards, recording.lengths.cumsum()[:-1])
    return np.concatenate([np.cumsum(rewards, dtype=float) - rewards for rewards in episodes])


def _draw(recording: Recording) -> tuple[Figure, tuple[float, float]]:
    """The curves, and where their axes begin and end as shares of the figure's width."""
    drawers = [(_draw_preferences, 2.0), (_draw_rewards, 0.7)]
    if recording.reading.values is not None:
        drawers.insert(0, (_draw_values, 2.0))
    heights = [height for _, height in drawers]
    steps = recording.video_steps
    with drawing(9, 0.9 * sum(heights), len(drawers), 1, sharex=True, height_ratios=heights) as (figure, grid):
        for (draw, _), axes in zip(drawers, grid[:, 0], strict=True):
            draw(axes, recording, steps)
            axes.set_xlim(-0.5, steps.stop - 0.5)
            for start in recording.lengths.cumsum()[: recording.video_episodes - 1]:
                axes.axvline(start - 0.5, color="0.5", linewidth=0.6, linestyle=":")
        axes.set_xlabel("step")
    box = axes.get_position()
    return figure, (float(box.x0), float(box.x1))


def _draw_values(axes: Axes, recording: Recording, part: slice) -> None:
    assert recording.reading.values is not None
    axes.plot(recording.reading.values[part], color=COLOURS[0], linewidth=1.2, label="value")
    axes.plot(recording.returns[part], color=COLOURS[1], linewidth=0.9, alpha=0.7, label="return that followed")
    axes.set_ylabel("value and return\n(training units)")
    _add_legend(axes)


def _draw_preferences(axes: Axes, recording: Recording, part: slice) -> None:
    """Draws the probabilities of one choice as layers that sum to 1, and other preferences as lines."""
    readout = recording.readout
    lengths = recording.lengths[: recording.video_episodes]
    preferences = smoothed(recording.reading.preferences[part], lengths, _window(part.stop))
    axes.set_ylabel(PREFERENCE_NAMES[readout.kind][1])
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
        for number, colour in zip(most_varying(preferences), COLOURS, strict=False):
            axes.plot(preferences[:, number], color=colour, linewidth=1.0, label=readout.names[number])
    _add_legend(axes)


def most_varying(preferences: Numbers) -> NDArray[np.int64]:
    """The columns of preferences [T, K] that vary most, at most `MOST_LINES`, in rising order."""
    return np.sort(np.argsort(-preferences.std(0))[:MOST_LINES])


def _draw_rewards(axes: Axes, recording: Recording, part: slice) -> None:
    rewards = recording.rewards[part]
    colours = np.where(rewards < 0, COLOURS[1], COLOURS[2])
    axes.bar(np.arange(part.stop), rewards, width=max(1.0, part.stop / 400), color=colours)
    axes.set_ylabel("reward\n(unclipped)")


def _add_legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1), fontsize=8)
