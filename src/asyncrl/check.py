"""The result of a check, of the machine or of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "other"]


@dataclass(frozen=True)
class Advice:
    """One change to try.

    Attributes:
        subject: What to change: a setting by its own name, or another word such as `environment`.
        direction: `higher` or `lower` for a number that is to grow or shrink, `other` for any other change.
        text: The change as a phrase, such as `a lower --learning-rate than 0.001`.
    """

    subject: str
    direction: Direction
    text: str


@dataclass(frozen=True)
class Check:
    """One line of `asyncrl doctor`: what was checked, the verdict, and what may help."""

    name: str
    verdict: Literal["good", "note", "bad"]  # note: worth knowing, but training works
    text: str
    advice: tuple[Advice, ...] = ()  # the most promising first
