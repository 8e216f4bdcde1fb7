"""The two streams of a dueling network over an episode (Wang et al. 2016)."""

from __future__ import annotations

import numpy as np

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.episode_chapter import most_varying
from asyncrl.analysis.picture import COLOURS


def show_streams(subject: Subject) -> Chapter:
    """Shows the value, which all actions share, and the advantage of each action.

    Raises:
        NotShownError: The network is not dueling.
    """
    agent, recording = subject.agent, subject.recording
    if not recording.readout.dueling:
        raise NotShownError("its network has no separate streams for value and advantage (--dueling makes them)")
    action_values = recording.reading.preferences[recording.video_steps]  # [n, A]
    allowed = np.where(recording.allowed[recording.video_steps], action_values, np.nan)
    value = np.nanmean(allowed, -1)
    advantages = allowed - value[:, None]
    steps = np.arange(len(value))
    with drawing(9, 3.6, 2, 1, sharex=True) as (figure, [[above], [below]]):
        above.plot(steps, value, color=COLOURS[0], linewidth=1.2)
        above.set_ylabel("V(s)\n(training units)")
        for number, colour in zip(most_varying(action_values), COLOURS, strict=False):
            below.plot(steps, advantages[:, number], color=colour, linewidth=1.0, label=recording.readout.names[number])
        below.set_ylabel("A(s, a) - mean\n(training units)")
        below.set_xlabel("step")
        below.legend(loc="upper left", bbox_to_anchor=(1.005, 1))
    masked = " Actions are masked, so V is shown as the mean over the allowed actions." if agent.info.masked else ""
    spread = float(np.nanstd(advantages))
    return Chapter(
        f"Q(s, a) = V(s) + A(s, a) - mean A. Over the video, the value has a standard deviation of {value.std():.3g}, "
        f"and the advantages have one of {spread:.3g}.{masked}",
        (Picture("streams", figure),),
    )
