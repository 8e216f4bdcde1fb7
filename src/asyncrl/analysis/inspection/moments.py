"""The states that stand out: of the highest and the lowest value, and where it went better or worse than expected."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asyncrl.analysis.drawing import draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.recording import Recording

SHOWN = 4
"""Of each kind."""
APART = 15
"""Steps between two that are shown."""
NARROWEST, TALLEST = 1.5, 2.3
"""Inches of a frame's column, and of a frame."""


def show_moments(subject: Subject) -> Chapter:
    """Frames of the moments that stand out.

    Raises:
        NotShownError: The agent has no value.
    """
    recording = subject.recording
    if recording.reading.values is None:
        raise NotShownError("its network says nothing of a state's value")
    values, advantages = recording.reading.values, recording.returns - recording.reading.values
    kinds = [
        ("highest value", values, values),
        ("lowest value", -values, values),
        ("greatest advantage: it went better than the value said", advantages, advantages),
        ("least advantage: it went worse than the value said", -advantages, advantages),
    ]
    pictures = tuple(
        Picture(f"moments_{number}", _draw(recording, stand_out(order), shown), caption)
        for number, (caption, order, shown) in enumerate(kinds)
    )
    return Chapter(
        "Moments that stand out",
        f"Among {len(recording):,} states. The advantage is the discounted return that followed, less the value: both "
        "of rewards as they were learned from.",
        pictures,
    )


def stand_out(order: NDArray[np.float32], count: int = SHOWN, apart: int = APART) -> list[int]:
    """The places [count] of the largest numbers [N] that lie apart from each other; fewer if there is no room."""
    chosen: list[int] = []
    for place in np.argsort(-order, kind="stable"):
        if all(abs(int(place) - other) >= apart for other in chosen):
            chosen.append(int(place))
            if len(chosen) == count:
                break
    return chosen


def _draw(recording: Recording, numbers: list[int], shown: NDArray[np.float32]) -> Figure:
    height, width = recording.frame(0).shape[:2]
    panel = max(NARROWEST, min(9 / SHOWN, TALLEST * width / height))
    with drawing(panel * SHOWN, min(TALLEST, panel * height / width) + 0.45, 1, SHOWN) as (figure, [row]):
        for axes, number in zip(row, [*numbers, *[None] * (SHOWN - len(numbers))], strict=True):
            if number is None:
                axes.set_visible(False)
                continue
            draw_image(axes, recording.frame(number), f"{shown[number]:.3g}\n{recording.place(number)}")
        return figure
