"""Where the agent went, drawn over the environment seen from above."""

from __future__ import annotations

import numpy as np

from asyncrl.analysis.drawing import MARK, draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject

MOST_EPISODES = 3


def show_paths(subject: Subject) -> Chapter:
    """Shows the places of the first episodes in the colour of their value, and where there was a reward.

    Raises:
        NotShownError: The environment has no picture from above.
    """
    recording = subject.recording
    episodes = [episode for episode in recording.episodes[:MOST_EPISODES] if episode.above is not None]
    if not episodes:
        raise NotShownError("its environment has no picture from above (labyrinths have)")
    values = recording.reading.values
    colours = recording.step_numbers if values is None else values
    name = "step of the episode" if values is None else "value (training units)"
    lowest, highest = float(colours.min()), float(colours.max())
    ends = recording.lengths.cumsum()
    with drawing(3.2 * len(episodes) + 0.8, 3.4, 1, len(episodes)) as (figure, [row]):
        for number, (axes, episode) in enumerate(zip(row, episodes, strict=True)):
            draw_image(axes, episode.above, f"episode {number + 1}: return {episode.total_reward:g}")
            places = np.array([step.place or (np.nan, np.nan) for step in episode.steps])
            shown = colours[ends[number] - len(places) : ends[number]]
            points = axes.scatter(*places.T, c=shown, cmap="viridis", vmin=lowest, vmax=highest, s=7, linewidths=0)
            paid = np.array([step.reward > 0 for step in episode.steps])
            axes.scatter(*places[paid].T, marker="x", color=MARK, s=28, linewidths=1.2)
        figure.colorbar(points, ax=row.tolist(), shrink=0.8, label=name)
    return Chapter(
        f"The agent's way from step to step, in the colour of its {name}. A cross marks a step that was rewarded. "
        "Objects are drawn where they were at the start.",
        (Picture("paths", figure),),
    )
