"""The verdict that opens the report: what the agent plays, how well, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from asyncrl.algorithms import algorithm_name
from asyncrl.analysis.history import read_history
from asyncrl.analysis.inspection.chapter import Subject
from asyncrl.errors import UserError

FEW = 10
"""With fewer whole episodes than this, the reader is asked to evaluate the agent."""


def verdict_on(subject: Subject, findings: Sequence[str] = ()) -> list[str]:
    """Paragraphs for the top of the page: what the agent plays and how well, and how sure that is.

    Args:
        subject: The run and the recording of its agent.
        findings: Sentences that the chapters add on how well it plays.
    """
    agent = subject.agent
    plays = (
        f"This agent plays {agent.info.id}. It was trained by {algorithm_name(agent.experiment.algorithm)} for "
        f"{agent.steps:,} steps."
    )
    returns = np.array([episode.total_reward for episode in subject.recording.episodes if episode.is_whole])
    well = _score(subject, returns) if len(returns) else [_no_score(subject)]
    sure = _spread(subject, returns) if len(returns) else []
    return [plays, " ".join([*well, *findings]), " ".join([*sure, subject.decidedness.text])]


def _score(subject: Subject, returns: NDArray[np.float64]) -> list[str]:
    """How the mean return compares with random play and with the return that counts as solved."""
    mean = float(returns.mean())
    before = np.array([episode.total_reward for episode in subject.untrained.episodes])
    sentences = [f"Its mean return is {mean:.4g}."]
    if len(before):
        scatter = 2 * float(np.sqrt(returns.var() / len(returns) + before.var() / len(before)))
        difference = mean - float(before.mean())
        comparison = (
            "clearly better than"
            if difference > scatter
            else "clearly worse than"
            if difference < -scatter
            else "not clearly different from"
        )
        sentences.append(f"This is {comparison} the untrained agent, which reached {before.mean():.4g}.")
    else:
        sentences.append(_rewards_per_step(subject))
    goal = _goal(subject)
    if goal is not None:
        reached = "has reached" if mean >= goal else "has not reached"
        sentences.append(f"The task counts as solved at a mean return of {goal:g}, which the agent {reached}.")
    return sentences


def _no_score(subject: Subject) -> str:
    """What can be said if the recording is part of one episode."""
    recording, before = subject.recording, [episode.total_reward for episode in subject.untrained.episodes]
    so_far = f"No episode ended within the {len(recording):,} recorded steps, so there is no score yet"
    if before:
        return (
            f"{so_far}: the return is {recording.rewards.sum():.4g} so far. Before training, the mean return of whole "
            f"episodes was {np.mean(before):.4g}."
        )
    return f"{so_far}. {_rewards_per_step(subject)}"


def _rewards_per_step(subject: Subject) -> str:
    """The rewards now and before training, for episodes of the untrained agent that are too long to be played."""
    now, before = (1000 * float(rewards.mean()) for rewards in (subject.recording.rewards, subject.untrained.rewards))
    return f"Its rewards sum to {now:.4g} in 1,000 steps; before training they summed to {before:.4g}."


def _spread(subject: Subject, returns: NDArray[np.float64]) -> list[str]:
    """How many episodes the score is a mean of, and how much they differ."""
    count = len(returns)
    if count == 1:
        sentences = ["The score is from a single episode."]
    elif np.ptp(returns) == 0:
        sentences = [
            "Both episodes had the same return." if count == 2 else f"All {count} episodes had the same return."
        ]
    else:
        error = 2 * float(returns.std(ddof=1)) / count**0.5
        sentences = [
            f"The {count} episodes had returns from {returns.min():.4g} to {returns.max():.4g}, so the true mean is "
            f"probably within {error:.2g} of {returns.mean():.4g}."
        ]
    if count < FEW:
        sentences.append(f"For a surer score, run 'asyncrl eval {subject.run.path} --episodes 100'.")
    return sentences


def _goal(subject: Subject) -> float | None:
    """The mean return at which the task counts as solved; None if it is unknown or the run's files are damaged."""
    with suppress(UserError):
        history = read_history(subject.run)
        return None if history is None else history.goal
    return None
