"""States that an agent met, with all it said of them: what every chapter of the report is made from."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from asyncrl.agent import Agent
from asyncrl.analysis.episode import Decision, Frame, Moment, play
from asyncrl.analysis.readout import Reading, Readout
from asyncrl.errors import UserError
from asyncrl.memory.rollout import RewardRule
from asyncrl.networks.heads import PolicyHead
from asyncrl.tree import tree_map
from asyncrl.types import State

Numbers = NDArray[np.float32]  # [N]
FILM_STEPS = 200
"""A film of fewer goes on with the next episode."""

Progress = Callable[[float], None]
"""Takes the share that is done."""


@dataclass(frozen=True)
class Recording:
    """N states in the order in which they were met, without the episodes' last ones, where nothing is chosen."""

    agent: Agent
    readout: Readout
    frames: tuple[bytes, ...]  # [N], JPEG
    decisions: tuple[Decision, ...]  # [N]
    features: Numbers  # [N, F], of the last hidden layer before the policy, or before the action values
    reading: Reading
    rewards: Numbers  # [N], that followed, unclipped
    episode: NDArray[np.int64]  # [N], which one a state belongs to, from 0
    step: NDArray[np.int64]  # [N], in its episode
    rendered: bool  # whether the frames are the environment's own pictures, or of what is observed
    ends: tuple[bool, ...]  # of each episode: whether it came to its end; the last may have been cut
    seconds: float  # that it took

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def film(self) -> slice:
        """The states of the first episodes: as many whole ones as make a film of some length."""
        lengths = np.bincount(self.episode).cumsum()
        return slice(0, int(lengths[min(int(np.searchsorted(lengths, FILM_STEPS)), len(lengths) - 1)]))

    def place(self, number: int) -> str:
        """Where a state lies, in words."""
        episode = f"episode {self.episode[number] + 1}, " if self.episode[-1] else ""
        return f"{episode}step {self.step[number]:,}"

    def frame(self, number: int) -> Frame:
        """The picture of a state."""
        with Image.open(io.BytesIO(self.frames[number])) as image:
            return np.asarray(image.convert("RGB"))

    def observations(self, numbers: Any) -> Any:
        """Observations of some states [N, ...], or that for each key."""
        chosen = [self.decisions[number].observation for number in np.arange(len(self))[numbers]]
        return tree_map(lambda *rows: torch.cat(rows, 1)[0], *chosen)

    def states(self, number: int, copies: int) -> State:
        """The recurrent state before a state of the environment, repeated [copies, H] for each tensor."""
        return tuple(tensor.expand(copies, -1) for tensor in self.decisions[number].state)

    @cached_property
    def returns(self) -> Numbers:
        """Discounted returns of rewards as they are learned from [N]; a cut episode goes on with the last value."""
        experiment = self.agent.experiment
        rule = RewardRule(experiment.reward_clip, experiment.reward_scale)
        rewards = rule.apply(torch.from_numpy(self.rewards)).numpy()
        returns = np.zeros(len(self), np.float32)
        following = 0.0
        for number in reversed(range(len(self))):
            if number + 1 == len(self) or self.episode[number + 1] != self.episode[number]:
                cut = not self.ends[self.episode[number]] and self.reading.values is not None
                following = float(self.reading.values[number]) if cut and self.reading.values is not None else 0.0
            following = returns[number] = rewards[number] + experiment.algorithm.discount * following
        return returns

    @cached_property
    def quantities(self) -> dict[str, Numbers]:
        """All numbers that are known of each state [N], by name."""
        reading, found = self.reading, dict[str, Numbers]()
        if reading.values is not None:
            found["value"] = reading.values
            found["advantage of what was done"] = self.returns - reading.values
        found["return from here"] = self.returns
        if (entropy := self._entropy()) is not None:
            found["entropy"] = entropy
        if reading.deviations is not None:
            found["deviation"] = reading.deviations
        found["step of the episode"] = self.step.astype(np.float32)
        found["reward"] = self.rewards
        what = {"probabilities": "π", "action values": "Q", "distribution": "mean of"}[self.readout.kind]
        for number, name in enumerate(self.readout.names):
            found[f"{what}({name})" if what != "mean of" else f"{what} {name}"] = reading.preferences[:, number]
        return found

    def _entropy(self) -> Numbers | None:
        if "policy" not in self.agent.network.heads:
            return None
        policy = cast(PolicyHead, self.agent.network.heads["policy"])
        return torch.cat([policy.entropy(item.outputs["policy"]).flatten() for item in self.decisions]).numpy()


def record(
    agent: Agent,
    readout: Readout,
    *,
    states: int,
    seconds: float,
    deterministic: bool,
    seed: int,
    progress: Progress,
) -> Recording:
    """Plays until there are enough states, or the time is over.

    Args:
        agent: Who plays.
        readout: Of its network.
        states: Number of states wanted.
        seconds: At most this long; at least one state is recorded.
        deterministic: Take the best known actions.
        seed: Of environment and actions.
        progress: Told how far it is.

    Raises:
        UserError: The environment cannot be made.
    """
    frames: list[bytes] = []
    decisions: list[Decision] = []
    features: list[torch.Tensor] = []
    rewards: list[float] = []
    episodes: list[int] = []
    steps: list[int] = []
    ends: list[bool] = [False]
    started = time.monotonic()
    head = agent.network.heads["policy" if "policy" in agent.network.heads else "q"]
    hook = head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].flatten(0, 1)))
    step = 0
    moments, rendered = _moments(agent, states, deterministic, seed)
    try:
        for moment in moments:
            spent = (time.monotonic() - started) / seconds
            if step:
                rewards.append(moment.reward)
            if moment.decision is None:
                ends[-1], step = True, 0
                ends.append(False)
                continue
            if len(frames) >= states or (spent >= 1 and frames):
                break
            frames.append(_jpeg(moment))
            decisions.append(moment.decision)
            episodes.append(len(ends) - 1)
            steps.append(step)
            step += 1
            progress(max(len(frames) / states, spent))
    finally:
        hook.remove()
    return Recording(
        agent,
        readout,
        tuple(frames),
        tuple(decisions),
        torch.cat(features)[: len(frames)].numpy(),
        _joined([readout.read(decision.outputs) for decision in decisions]),
        np.array(rewards[: len(frames)], np.float32),
        np.array(episodes),
        np.array(steps),
        rendered,
        tuple(ends),
        time.monotonic() - started,
    )


def _moments(agent: Agent, states: int, deterministic: bool, seed: int) -> tuple[Iterator[Moment], bool]:
    """Moments, and whether they show the environment's own pictures: not all environments draw themselves."""
    moments = play(agent, states, deterministic, seed)
    try:
        return itertools.chain([next(moments)], moments), True
    except UserError:
        return play(agent, states, deterministic, seed, render=False), False


def _joined(readings: list[Reading]) -> Reading:
    first = readings[0]
    return Reading(
        np.concatenate([reading.preferences for reading in readings]),
        None
        if first.deviations is None
        else np.concatenate([r.deviations for r in readings if r.deviations is not None]),
        None if first.values is None else np.concatenate([r.values for r in readings if r.values is not None]),
    )


def _jpeg(moment: Moment) -> bytes:
    file = io.BytesIO()
    Image.fromarray(moment.frame).save(file, "JPEG", quality=92)
    return file.getvalue()
