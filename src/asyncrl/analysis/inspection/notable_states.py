"""States that stand out: highest and lowest values, and where the return was better or worse than expected."""

from __future__ import annotations

from matplotlib.figure import Figure

from asyncrl.analysis.drawing import draw_image, drawing
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Picture, Subject
from asyncrl.analysis.inspection.recording import Numbers, Recording

SHOWN = 4
"""Number of states shown of each kind."""
APART = 15
"""Least number of steps between two states of one kind."""
NARROWEST, TALLEST = 1.5, 2.3
"""Least width of a frame's column, and greatest height of a frame, in inches."""


def show_notable_states(subject: Subject) -> Chapter:
    """Shows the frames of the states that stand out.

    Raises:
        NotShownError: The network has no value output.
    """
    recording = subject.recording
    if recording.reading.values is None:
        raise NotShownError("its network has no value output")
    values, advantages = recording.reading.values, recording.returns - recording.reading.values
    kinds = [
        ("Highest value", values, "value", values),
        ("Lowest value", -values, "value", values),
        ("Greatest advantage: the return was better than the value", advantages, "advantage", advantages),
        ("Least advantage: the return was worse than the value", -advantages, "advantage", advantages),
    ]
    pictures = tuple(
        Picture(f"notable_states_{number}", _draw(recording, largest(order), name, shown), caption)
        for number, (caption, order, name, shown) in enumerate(kinds)
    )
    return Chapter(
        f"Chosen among {len(recording):,} states. The advantage is the return that followed minus the value. Both are "
        "in training units: of clipped, scaled and discounted rewards.",
        pictures,
    )


def largest(numbers: Numbers, count: int = SHOWN, apart: int = APART) -> list[int]:
    """The positions of the largest numbers [N] that are some steps apart from each other.

    Args:
        numbers: One number for each step of a recording.
        count: How many positions to find; there are fewer if the recording is too short.
        apart: Least distance between two of them.
    """
    chosen: list[int] = []
    for position in (-numbers).argsort(kind="stable").tolist():
        if all(abs(position - other) >= apart for other in chosen):
            chosen.append(position)
            if len(chosen) == count:
                break
    return chosen


def _draw(recording: Recording, chosen: list[int], name: str, shown: Numbers) -> Figure:
    height, width = recording.frame(0)[recording.interior].shape[:2]
    panel = max(NARROWEST, min(9 / SHOWN, TALLEST * width / height))
    with drawing(panel * SHOWN, min(TALLEST, panel * height / width) + 0.45, 1, SHOWN) as (figure, [row]):
        for axes, number in zip(row, [*chosen, *[None] * (SHOWN - len(chosen))], strict=True):
            if number is None:
                axes.set_visible(False)
                continue
            draw_image(
                axes,
                recording.frame(number)[recording.interior],
                f"{name} {shown[number]:.3g}\n{recording.place(number)}",
            )
        return figure
