"""A rule about how far a run came and how it ended."""

from __future__ import annotations

from collections.abc import Iterator

from asyncrl.analysis.history import History
from asyncrl.check import Check
from asyncrl.run_state import state_of


def how_it_ended(history: History) -> Iterator[Check]:
    """A failed run is bad; a run that was stopped or has not ended gets a note."""
    progress = f"step {history.steps:,} of {history.planned_steps:,}"
    resume = f"continue with: asyncrl train --resume --run-dir {history.run.path}"
    summary = history.summary
    if summary is None:
        state = state_of(history.run)
        yield Check("run", "note", f"{state.text}, at {progress}" + ("" if state.is_live else f": {resume}"))
    elif summary.get("status") == "failed":
        reason = (str(summary.get("error", "")).strip() or "no reason was recorded").splitlines()[0]
        yield Check("run", "bad", f"failed at {progress}: {reason}; see {history.run.log_file}")
    elif summary.get("status") == "stopped":
        yield Check("run", "note", f"stopped by {summary.get('ended_by')} at {progress}: {resume}")
    else:
        goal = "" if history.goal is None else f", a mean return of {history.goal:g}"
        ended_by = summary.get("ended_by")
        reason = f"its goal was reached{goal}" if ended_by == "goal" else f"ended by its {ended_by}"
        yield Check("run", "good", f"done at {progress}: {reason}")
