"""What the untrained agent did: if it never meets a reward, there is nothing to learn from."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asyncrl.analysis.drawing import drawing
from asyncrl.analysis.inspection.chapter import Chapter, Picture, Subject
from asyncrl.analysis.picture import COLOURS
from asyncrl.analysis.readout import Readout
from asyncrl.envs.actions import action_codec
from asyncrl.runtime.agent import Agent

MOST_NAMES = 24
"""With more actions than this, a drawing shows their numbers instead of their names."""


def show_first_policy(subject: Subject) -> Chapter:
    """Shows how the initial network acts, and whether it meets any reward."""
    agent, readout = subject.agent, subject.recording.readout
    first = subject.untrained
    paid = int((first.rewards != 0).sum())
    if not paid:
        found = "it met no reward: unless exploration finds one, there is nothing to learn from"
    elif len(np.unique(first.rewards)) == 1:
        found = f"every step gave a reward of {first.rewards[0]:g}"
    else:
        found = f"{paid:,} of them gave a reward ({first.rewards.min():.4g} to {first.rewards.max():.4g})"
    returns = [episode.total_reward for episode in first.episodes]
    ended = (
        f"{len(returns)} episodes ended, with a mean return of {np.mean(returns):.4g}"
        if returns
        else "no episode ended"
    )
    now = np.stack([np.asarray(step.decision.action) for step in subject.recording.steps])
    return Chapter(
        f"The network with its initial parameters played {len(first.rewards):,} steps with the exploration of the "
        f"first training step: {found}; {ended}.",
        (Picture("first_policy", _draw(readout, agent, first.actions, now), "Actions taken before training and now"),),
    )


def _draw(readout: Readout, agent: Agent, then: NDArray[np.float32], now: NDArray[np.float32]) -> Figure:
    if isinstance(agent.info.action_space, Box):
        return _draw_dimensions(readout, then, now)
    sizes = action_codec(agent.info.action_space).sizes
    with drawing(7, 2.4) as (figure, [[axes]]):
        places = np.arange(len(readout.names))
        for offset, (label, actions) in enumerate((("before", then), ("now", now))):
            columns = actions.reshape(len(actions), len(sizes)).astype(int)
            shares = [np.bincount(columns[:, part], minlength=size) / len(columns) for part, size in enumerate(sizes)]
            axes.bar(places + 0.4 * offset - 0.2, np.concatenate(shares), 0.38, color=COLOURS[offset], label=label)
        names = [*readout.names] if len(places) <= MOST_NAMES else [str(place) for place in places]
        long = max(map(len, names)) * len(names) > 75
        axes.set_xticks(places, names, rotation=45 if long else 0, ha="right" if long else "center")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_ylabel("share of the actions")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return figure


def _draw_dimensions(readout: Readout, then: NDArray[np.float32], now: NDArray[np.float32]) -> Figure:
    shown = min(len(readout.names), 8)
    with drawing(7, 2.2, 1, shown, sharey=True) as (figure, [row]):
        for number, axes in enumerate(row):
            bins = np.linspace(
                min(then[:, number].min(), now[:, number].min()), max(then[:, number].max(), now[:, number].max()), 25
            )
            for label, actions, colour in (("before", then, COLOURS[0]), ("now", now, COLOURS[1])):
                weights = np.full(len(actions), 1 / len(actions))
                axes.hist(actions[:, number], bins, weights=weights, alpha=0.6, color=colour, label=label)
            axes.set_title(readout.names[number])
            axes.set_xlabel("action")
        row[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        row[0].set_ylabel("share of the actions")
        row[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return figure
