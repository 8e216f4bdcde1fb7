"""How far a run came, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator

from asyncrl.analysis.history import History
from asyncrl.machine import Check
from asyncrl.run_state import state_of


def how_it_ended(history: History) -> Iterator[Check]:
    """A failed run is bad; one without an end is worth a note."""
    progress = f"step {history.steps:,} of {history.planned_steps:,}"
    resume = f"go on with: asyncrl train --resume --run-dir {history.run.path}"
    summary = history.summary
    if summary is None:
        state = state_of(history.run)
        yield Check("run", "note", f"{state.text}, at {progress}" + ("" if state.is_live else f": {resume}"))
    elif summary.get("status") == "failed":
        reason = (str(summary.get("error", "")).strip() or "no reason was saved").splitlines()[0]
        yield Check("run", "bad", f"failed at {progress}: {reason}; see {history.run.log_file}")
    elif summary.get("status") == "stopped":
        yield Check("run", "note", f"stopped by {summary.get('ended_by')} at {progress}: {resume}")
    else:
        ends = {"goal": f"its goal, a mean return of {history.goal:g}, was reached" if history.goal else "goal reached"}
        ended_by = str(summary.get("ended_by"))
        yield Check("run", "good", f"done at {progress}: {ends.get(ended_by, f'ended by its {ended_by}')}")
