"""The result of a check, of the machine or of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One line of `asyncrl doctor`: what was checked, the verdict, and what to do about it."""

    name: str
    verdict: Literal["good", "note", "bad"]  # note: worth knowing, but training works
    text: str
