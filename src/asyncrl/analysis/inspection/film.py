"""Episodes as a film, with what the agent said at each step beside it."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.episode import write_video
from asyncrl.analysis.inspection.chapter import Chapter, Picture, Subject, plain
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.picture import COLOURS

SHORTEST_RATE = 8.0
"""Steps a second at most in a film of few steps, so that it can be followed."""
MOST_LINES = 8
"""Preferences drawn over time; the others are only shown as bars."""
WORDS = {
    "probabilities": "action probabilities",
    "action values": "action values (Q)",
    "distribution": "means of the action",
}


def show_film(subject: Subject, folder: Path) -> Chapter:
    """Writes `episode.mp4` into a folder and puts it into the report, in step with the curves.

    Raises:
        UserError: The film cannot be written.
    """
    recording, path = subject.recording, folder / "episode.mp4"
    part = recording.film
    steps = part.stop
    rate = recording.rate
    if steps < 300:
        rate = min(rate, SHORTEST_RATE)
    write_video((recording.frame(number) for number in range(steps)), path, rate)
    figure, box = _draw(recording, part)
    episodes = int(recording.episode[:steps].max()) + 1
    whole = sum(recording.ends[:episodes])
    what = WORDS[recording.readout.kind] + (", value" if recording.reading.values is not None else "")
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
    steps = np.arange(part.stop)
    has_value = recording.reading.values is not None
    preferences = recording.reading.preferences[part]
    with drawing(
        9,
        4.2 if has_value else 2.8,
        3 if has_value else 2,
        1,
        sharex=True,
        height_ratios=[2, 2, 0.7][-(3 if has_value else 2) :],
    ) as (
        figure,
        grid,
    ):
        rows = list(grid[:, 0])
        if has_value:
            assert recording.reading.values is not None
            rows[0].plot(steps, recording.reading.values[part], color=COLOURS[0], linewidth=1.2, label="value")
            rows[0].plot(
                steps, recording.returns[part], color=COLOURS[1], linewidth=0.9, alpha=0.7, label="return that followed"
            )
            rows[0].legend(loc="upper left", bbox_to_anchor=(1.005, 1))
            rows[0].set_ylabel("value")
        axes = rows[-2]
        if recording.readout.kind == "probabilities" and len(recording.readout.sizes) == 1:
            likely = np.sort(np.argsort(-preferences.mean(0))[:MOST_LINES])
            parts = [*preferences[:, likely].T, 1 - preferences[:, likely].sum(1)]
            labels = [*(recording.readout.names[number] for number in likely), "others"]
            shown = len(labels) if len(likely) < preferences.shape[1] else len(likely)
            axes.stackplot(steps, parts[:shown], colors=[*COLOURS, "0.7"], labels=labels[:shown], linewidth=0)
            axes.set_ylim(0, 1)
        else:
            spread = np.argsort(-preferences.std(0))[:MOST_LINES]
            for number, colour in zip(sorted(spread), itertools.cycle(COLOURS), strict=False):
                axes.plot(
                    steps, preferences[:, number], color=colour, linewidth=1.0, label=recording.readout.names[number]
                )
        axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1), fontsize=7)
        axes.set_ylabel(
            WORDS[recording.readout.kind].split(" (")[0].replace("action ", "").replace(" of the action", "")
        )
        rewards = recording.rewards[part]
        rows[-1].bar(
            steps, rewards, width=max(1.0, len(steps) / 400), color=np.where(rewards < 0, COLOURS[1], COLOURS[2])
        )
        rows[-1].set_ylabel("reward")
        rows[-1].set_xlabel("step")
        for axes in rows:
            axes.set_xlim(-0.5, len(steps) - 0.5)
            for start in np.flatnonzero(np.diff(recording.episode[part])):
                axes.axvline(start + 0.5, color="0.5", linewidth=0.6, linestyle=":")
    box = rows[0].get_position()
    return figure, (float(box.x0), float(box.x1))
