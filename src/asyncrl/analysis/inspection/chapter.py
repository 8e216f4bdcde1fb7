"""The parts that the report is put together from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from asyncrl.analysis.inspection.recording import Recording
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.agent import Agent


class NotShownError(Exception):
    """Says why a chapter cannot be shown for an agent."""


@dataclass(frozen=True)
class Subject:
    """What a chapter is about: a run, and states that its agent met."""

    run: RunFolder
    recording: Recording
    dimensions: tuple[int, ...] = ()  # of the observation, that a map is drawn over; empty: the two that matter most
    seed: int = 0

    @property
    def agent(self) -> Agent:
        """Who met them."""
        return self.recording.agent

    @property
    def is_recurrent(self) -> bool:
        """Whether the agent remembers."""
        return bool(self.agent.network.initial_state(1))


@dataclass(frozen=True)
class Picture:
    """A drawing, which becomes a file beside the report and a part of it."""

    name: str  # of the file, without its ending
    figure: Figure
    caption: str = ""
    in_page: bool = True  # False where a block of the page shows the same


@dataclass(frozen=True)
class Chapter:
    """One part of the report.

    `block` names a part of the page's template that shows `data` and moves.
    """

    title: str
    text: str
    pictures: tuple[Picture, ...] = ()
    block: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def plain(array: ArrayLike) -> Any:
    """An array as lists of numbers that JSON has, to six digits; None for what is not finite."""
    numbers = np.asarray(array, float)
    if numbers.ndim > 1:
        return [plain(row) for row in numbers]
    return [float(f"{number:.6g}") if np.isfinite(number) else None for number in numbers.tolist()]
