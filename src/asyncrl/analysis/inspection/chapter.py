"""What the report is put together from: chapters, which hold pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from matplotlib.figure import Figure

from asyncrl.analysis.inspection.decidedness import Decidedness, decidedness_of
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.analysis.inspection.untrained import FirstSteps, play_untrained
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.agent import Agent


class NotShownError(Exception):
    """Says why a chapter cannot be shown for an agent."""


@dataclass(frozen=True)
class Subject:
    """What a report is about: a run, and a recording of its agent."""

    run: RunFolder
    recording: Recording
    dimensions: tuple[int, ...] = ()  # two entries of the observation for the map; empty: the most important two
    seed: int = 0

    @property
    def agent(self) -> Agent:
        """The agent that was recorded."""
        return self.recording.agent

    @property
    def is_recurrent(self) -> bool:
        """Whether the agent's network has a recurrent core."""
        return bool(self.agent.network.initial_state(1))

    @cached_property
    def decidedness(self) -> Decidedness:
        """How decided the agent's choices are."""
        return decidedness_of(self.recording)

    @cached_property
    def untrained(self) -> FirstSteps:
        """What the agent did before training."""
        return play_untrained(self.agent)


@dataclass(frozen=True)
class Picture:
    """A drawing that is shown in the report and written to a file beside it."""

    name: str  # of the file, without its ending
    figure: Figure
    caption: str = ""
    in_page: bool = True  # False where the chapter's interactive block shows the same


@dataclass(frozen=True)
class Chapter:
    """One part of the report.

    `block` names the interactive part of the page's template that shows `data`; it is empty if there is none.
    `finding` is what the chapter adds to the verdict at the top of the page: a sentence, or nothing.
    """

    text: str
    pictures: tuple[Picture, ...] = ()
    block: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    finding: str = ""
