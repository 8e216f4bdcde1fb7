"""States that an agent met, with all it said of them: what every chapter of the report is made from."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from asyncrl.analysis.episode import Decision, Frame, Moment, Stage
from asyncrl.analysis.readout import Reading, Readout
from asyncrl.networks.heads import PolicyHead
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.rollout_buffer import RewardRule
from asyncrl.tree import tree_map
from asyncrl.types import State

Numbers = NDArray[np.float32]  # [N]
MOST_PREFERENCES = 16
"""Among the quantities: those that vary most."""
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
    rate: float  # steps a second of the environment's own time
    why_shades: str  # why the frames are of what is observed; empty if they are the environment's own pictures
    ends: tuple[bool, ...]  # of each episode: whether it came to its end; the last may have been cut
    after: tuple[float, ...]  # of each episode: what was still to come: 0 after a terminal state, else the next value
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
        """Discounted returns of rewards as they are learned from [N]; what was cut off counts with the next value."""
        experiment = self.agent.experiment
        rule = RewardRule(experiment.reward_clip, experiment.reward_scale)
        rewards = rule.apply(torch.from_numpy(self.rewards)).numpy()
        returns = np.zeros(len(self), np.float32)
        for number in reversed(range(len(self))):
            continues = number + 1 < len(self) and self.episode[number + 1] == self.episode[number]
            following = float(returns[number + 1]) if continues else self.after[self.episode[number]]
            returns[number] = rewards[number] + experiment.algorithm.discount * following
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
        for number in np.sort(np.argsort(-self.reading.preferences.std(0))[:MOST_PREFERENCES]):
            name = self.readout.names[number]
            found[f"{what}({name})" if what != "mean of" else f"{what} {name}"] = reading.preferences[:, number]
        return found

    def _entropy(self) -> Numbers | None:
        if "policy" not in self.agent.network.heads:
            return None
        policy = cast(PolicyHead, self.agent.network.heads["policy"])
        if not hasattr(policy, "entropy"):  # a head of somebody's own
            return None
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
    features: list[torch.Tensor] = []  # of each decision, and of what followed it
    kept: list[int] = []  # places among them
    rewards: list[float] = []
    episodes: list[int] = []
    steps: list[int] = []
    ends: list[bool] = []
    after: list[float] = []
    started = time.monotonic()
    head = agent.network.heads["policy" if "policy" in agent.network.heads else "q"]
    with Stage(agent) as stage:
        hook = head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].flatten(0, 1)))
        try:
            for moment in stage.play(states, deterministic, seed):
                starts = len(ends) == len(after)
                if not starts:
                    rewards.append(moment.reward)
                spent = (time.monotonic() - started) / seconds
                is_enough = len(frames) >= states or (spent >= 1 and bool(frames))
                if moment.last or is_enough:
                    if not starts:
                        ends[-1] = moment.last
                        after.append(0.0 if moment.terminated else _value(readout, moment))
                    if is_enough:
                        break
                    continue
                if starts:
                    ends.append(False)
                    step = 0
                frames.append(_jpeg(moment))
                decisions.append(moment.decision)
                kept.append(len(features) - 1)
                episodes.append(len(ends) - 1)
                steps.append(step)
                step += 1
                progress(max(len(frames) / states, spent))
        finally:
            hook.remove()
        rate, why_shades = stage.rate, stage.why_shades
    return Recording(
        agent,
        readout,
        tuple(frames),
        tuple(decisions),
        torch.cat([features[place] for place in kept]).numpy(),
        _joined([readout.read(decision.outputs) for decision in decisions]),
        np.array(rewards, np.float32),
        np.array(episodes),
        np.array(steps),
        rate,
        why_shades,
        tuple(ends),
        tuple(after),
        time.monotonic() - started,
    )


def _value(readout: Readout, moment: Moment) -> float:
    values = readout.read(moment.decision.outputs).values
    return 0.0 if values is None else float(values[0])


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
