"""The two streams of a dueling network over an episode (Wang et al. 2016)."""

from __future__ import annotations

import numpy as np

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.film import MOST_LINES
from asyncrl.analysis.picture import COLOURS


def show_streams(subject: Subject) -> Chapter:
    """The value, which all actions share, and what each action adds to it.

    Raises:
        NotShownError: The network is not dueling.
    """
    recording = subject.recording
    if not recording.readout.dueling:
        raise NotShownError("its network has no streams of its own for value and advantage (--dueling makes them)")
    part = recording.film
    actions = recording.reading.preferences[part]  # [n, A]
    value = actions.mean(-1)
    steps = np.arange(part.stop)
    with drawing(9, 3.6, 2, 1, sharex=True) as (figure, [[above], [below]]):
        above.plot(steps, value, color=COLOURS[0], linewidth=1.2)
        above.set_ylabel("V(s)")
        for number in np.sort(np.argsort(-actions.std(0))[:MOST_LINES]):
            name = recording.readout.names[number]
            below.plot(
                steps, actions[:, number] - value, color=COLOURS[number % len(COLOURS)], linewidth=1.0, label=name
            )
        below.set_ylabel("A(s, a) - mean")
        below.set_xlabel("step")
        below.legend(loc="upper left", bbox_to_anchor=(1.005, 1))
    spread = float((actions - value[:, None]).std())
    return Chapter(
        "Value and advantage streams",
        f"Q(s, a) = V(s) + A(s, a) - mean A. The value moves by {value.std():.3g} (standard deviation over the film), "
        f"what depends on the action by {spread:.3g}.",
        (Picture("streams", figure),),
    )
