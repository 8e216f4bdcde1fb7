"""What is likely wrong with a run, and what would make it faster, in plain words."""

from __future__ import annotations

from asyncrl.analysis.history import read_history
from asyncrl.machine import Check
from asyncrl.run_folder import RunFolder


def advise(run: RunFolder) -> list[Check]:
    """Remarks on how a run ended, on what it learned and on where its workers' time went.

    Raises:
        UserError: The folder is damaged.
    """
    from asyncrl.analysis import rules

    history = read_history(run)
    if history is None:
        return [Check("run", "note", f"{run.metrics_file} is empty: it has not trained long enough to say anything")]
    state, learning, speed = (
        [check for rule in group for check in rule(history)] for group in (rules.STATE, rules.LEARNING, rules.SPEED)
    )
    if not any(check.verdict != "good" for check in learning):
        text = "no sign of trouble in returns, entropy, values and gradients"
        learning.append(Check("learning", "good", text))
    return [*state, *learning, *speed]
