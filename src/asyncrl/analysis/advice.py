"""What is likely wrong with a run, what would make it faster, and one list of what to try."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from asyncrl.analysis.history import History, read_history
from asyncrl.analysis.rules import policy, replay, returns, rewards, speed, state, updates, value
from asyncrl.check import Advice, Check
from asyncrl.run_folder import RunFolder

Rule = Callable[[History], Iterable[Check]]

STATE: Sequence[Rule] = (state.how_it_ended,)
NOTHING_TO_LEARN: Sequence[Rule] = (replay.never_began, rewards.no_episode, rewards.no_reward)
"""If one of these applies, the rules of `LEARNING` are not asked: the curves that they read mean nothing then."""
LEARNING: Sequence[Rule] = (
    replay.target_never_refreshed,
    replay.priorities_collapsed,
    returns.collapsed,
    policy.entropy_never_moved,
    returns.never_moved,
    returns.still_improving,
    returns.plateau,
    value.explains_nothing,
    value.diverged,
    updates.gradients_exploded,
    updates.clip_decides,
    updates.gradients_vanished,
)
"""In the order of trust: where two rules advise opposite changes, the first one is followed."""
ALWAYS: Sequence[Rule] = (policy.entropy_collapsed, updates.dropped)
SPEED: Sequence[Rule] = (speed.where_time_goes, speed.more_workers_than_cores, speed.slowed_down, speed.restarts)


def advise(run: RunFolder) -> list[Check]:
    """Checks how a run ended, what it learned, and where the time of its workers went.

    The last checks are the list of what to try, numbered by how promising it is.

    Raises:
        UserError: The folder is damaged.
    """
    history = read_history(run)
    if history is None:
        return [Check("run", "note", f"{run.metrics_file} is empty: the run has not trained long enough to be judged")]
    found = [*_ask(STATE, history), *_learning(history), *_ask(SPEED, history)]
    changes = what_to_try(found)
    return [*found, *(Check(f"try {number}", "note", text) for number, text in enumerate(changes, 1))]


def what_to_try(checks: Sequence[Check]) -> list[str]:
    """One list of all advice, in which no subject occurs twice.

    Where several checks have advice on one subject, the first is taken that says in which direction to change it.

    Returns:
        Each change, with the names of the checks that advise it.
    """
    chosen: dict[str, Advice] = {}
    for advice in (advice for check in checks for advice in check.advice):
        if advice.subject not in chosen or chosen[advice.subject].direction == "other" != advice.direction:
            chosen[advice.subject] = advice
    return [f"{advice.text} ({', '.join(_advisers(advice, checks))})" for advice in chosen.values()]


def _learning(history: History) -> list[Check]:
    found = _ask(NOTHING_TO_LEARN, history) or _ask(LEARNING, history)
    if not any(check.name == returns.NAME and check.verdict == "note" for check in found):
        found += returns.short_of_goal(history)
    found += _ask(ALWAYS, history)
    if all(check.verdict == "good" for check in found):
        found.append(Check("learning", "good", "no sign of trouble in returns, entropy, values and gradients"))
    return found


def _ask(rules: Sequence[Rule], history: History) -> list[Check]:
    return [check for rule in rules for check in rule(history)]


def _advisers(advice: Advice, checks: Sequence[Check]) -> list[str]:
    same = (advice.subject, advice.direction)
    names = [check.name for check in checks if same in ((other.subject, other.direction) for other in check.advice)]
    return list(dict.fromkeys(names))
