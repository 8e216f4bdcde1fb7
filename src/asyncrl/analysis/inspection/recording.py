"""Recorded episodes with all that the agent computed at each step: every chapter of the report reads them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from asyncrl.analysis.episode import Decision, EpisodePlayer, Frame, Step
from asyncrl.analysis.inspection.margins import without_margins
from asyncrl.analysis.readout import Reading, Readout
from asyncrl.networks.heads import PolicyHead
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.rollout_buffer import RewardRule
from asyncrl.tree import tree_map
from asyncrl.types import ACTION_MASK, State

Numbers = NDArray[np.float32]
MOST_PREFERENCES = 16
"""Number of preferences among a recording's quantities: those that vary most."""
VIDEO_STEPS = 200
"""The report's video shows whole episodes until it has at least this many steps."""

MARGIN_FRAMES = 300
"""Number of frames that are searched for margins that show nothing."""

Progress = Callable[[float], None]
"""Is called with the share of the work that is done."""


@dataclass(frozen=True)
class RecordedStep:
    """A state, what the agent made of it, and the reward that followed."""

    frame: bytes  # JPEG
    decision: Decision
    features: Numbers  # [F], the last hidden layer before the policy or the action values
    reward: float  # unclipped
    place: tuple[float, float] | None = None  # of the agent in the picture from above, in pixels


@dataclass(frozen=True)
class RecordedEpisode:
    """The steps of one episode, without its final observation, where no action is chosen."""

    steps: tuple[RecordedStep, ...]
    is_whole: bool  # False if the recording stopped before the episode ended
    bootstrap: float  # value of the state after the last step: 0 after a terminal state, else the network's value
    above: Frame | None = None  # the environment from above at the start, if it can be drawn

    @property
    def total_reward(self) -> float:
        """Sum of the unclipped rewards."""
        return sum(step.reward for step in self.steps)

    def returns(self, rule: RewardRule, discount: float) -> Numbers:
        """Discounted returns [T] of the rewards as the agent learns from them, with the bootstrap value at the end."""
        rewards = rule.apply(torch.tensor([step.reward for step in self.steps])).numpy()
        returns, following = np.zeros_like(rewards), self.bootstrap
        for number in reversed(range(len(rewards))):
            following = float(rewards[number]) + discount * following
            returns[number] = following
        return returns


@dataclass(frozen=True)
class Recording:
    """Episodes that an agent played; arrays over their N steps are in the order of play."""

    agent: Agent
    readout: Readout
    episodes: tuple[RecordedEpisode, ...]
    fps: float  # steps per second at the environment's own speed
    render_problem: str  # why frames show the observation; empty if they are the environment's own pictures
    seconds: float  # that playing took

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def steps(self) -> tuple[RecordedStep, ...]:
        """All steps [N]."""
        return tuple(step for episode in self.episodes for step in episode.steps)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of steps of each episode."""
        return np.array([len(episode.steps) for episode in self.episodes])

    @cached_property
    def step_numbers(self) -> NDArray[np.int64]:
        """The number [N] of each step in its episode, from 0."""
        return np.concatenate([np.arange(length) for length in self.lengths])

    @cached_property
    def reading(self) -> Reading:
        """The agent's preferences and values at all steps."""
        heads = self.steps[0].decision.outputs
        return self.readout.read({head: self._outputs(head) for head in heads})

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Which actions [N, K] were allowed; all of them if actions are not masked."""
        if not self.agent.info.masked:
            return np.ones_like(self.reading.preferences, bool)
        masks = [step.decision.observation[ACTION_MASK].flatten() for step in self.steps]
        return np.asarray(torch.stack(masks).bool().numpy())

    @cached_property
    def features(self) -> Numbers:
        """The last hidden layer [N, F] before the policy or the action values."""
        return np.stack([step.features for step in self.steps])

    @cached_property
    def rewards(self) -> Numbers:
        """The unclipped reward [N] that followed each step."""
        return np.array([step.reward for step in self.steps], np.float32)

    @cached_property
    def returns(self) -> Numbers:
        """The return [N] that followed each step, in training units: of clipped, scaled and discounted rewards."""
        rule, discount = self.agent.reward_rule, self.agent.experiment.algorithm.discount
        return np.concatenate([episode.returns(rule, discount) for episode in self.episodes])

    @property
    def video_episodes(self) -> int:
        """Number of episodes in the report's video: as few as have `VIDEO_STEPS` steps together, else all."""
        return min(int(np.searchsorted(self.lengths.cumsum(), VIDEO_STEPS)) + 1, len(self.episodes))

    @property
    def video_steps(self) -> slice:
        """The steps of those episodes."""
        return slice(0, int(self.lengths[: self.video_episodes].sum()))

    def place(self, number: int) -> str:
        """The episode and step of a state, for people: counted from 1 and 0."""
        episode = int(np.searchsorted(self.lengths.cumsum(), number, side="right")) + 1
        return (f"episode {episode}, " if len(self.episodes) > 1 else "") + f"step {self.step_numbers[number]:,}"

    def frame(self, number: int) -> Frame:
        """The picture of a state."""
        with Image.open(io.BytesIO(self.steps[number].frame)) as image:
            return np.asarray(image.convert("RGB"))

    @cached_property
    def interior(self) -> tuple[slice, slice]:
        """The rows and columns of the frames that show anything: without margins that never change."""
        shown = np.unique(np.linspace(0, len(self) - 1, MARGIN_FRAMES).astype(int))
        return without_margins(map(self.frame, shown))

    def observations(self, numbers: Any) -> Any:
        """The observations of some states [n, ...], or that for each key.

        Args:
            numbers: Their numbers, or a slice.
        """
        chosen = [self.steps[number].decision.observation for number in np.arange(len(self))[numbers]]
        return tree_map(lambda *rows: torch.cat(rows, 1)[0], *chosen)

    def episode_observations(self, numbers: slice) -> Any:
        """The observations of successive states [n, 1, ...], or that for each key."""
        return tree_map(lambda rows: rows.unsqueeze(1), self.observations(numbers))

    def recurrent_state(self, number: int, copies: int) -> State:
        """The recurrent state before a step, repeated [copies, H] for each tensor."""
        return tuple(tensor.expand(copies, -1) for tensor in self.steps[number].decision.state)

    @cached_property
    def quantities(self) -> dict[str, Numbers]:
        """Every number [N] that is known of the states, by name."""
        reading, found = self.reading, dict[str, Numbers]()
        if reading.values is not None:
            found["value"] = reading.values
            found["advantage of the action taken"] = self.returns - reading.values
        found["return that followed"] = self.returns
        if (entropy := self._entropy()) is not None:
            found["entropy"] = entropy
        if reading.deviations is not None:
            found["deviation"] = reading.deviations
        found["step of the episode"] = self.step_numbers.astype(np.float32)
        found["reward"] = self.rewards
        names = {"probabilities": "π({})", "action values": "Q({})", "distribution": "mean of {}"}[self.readout.kind]
        for number in np.sort(np.argsort(-reading.preferences.std(0))[:MOST_PREFERENCES]):
            found[names.format(self.readout.names[number])] = reading.preferences[:, number]
        return found

    def _entropy(self) -> Numbers | None:
        if "policy" not in self.agent.network.heads:
            return None
        policy = cast(PolicyHead, self.agent.network.heads["policy"])
        if not hasattr(policy, "entropy"):  # a user's own head
            return None
        return policy.entropy(self._outputs("policy")).flatten().numpy()

    def _outputs(self, head: str) -> torch.Tensor:
        """A head's outputs [N, 1, ...]."""
        return torch.cat([step.decision.outputs[head] for step in self.steps])


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
    """Plays until enough states are recorded or the time is over.

    Args:
        agent: The agent that plays.
        readout: Reads the outputs of its network.
        states: Number of states to record.
        seconds: Time limit; at least one state is recorded.
        deterministic: Take the most probable action instead of drawing one.
        seed: Seed for the environment and the drawn actions.
        progress: Is called after each step.

    Raises:
        UserError: The environment cannot be made.
    """
    episodes: list[RecordedEpisode] = []
    steps: list[RecordedStep] = []  # of the episode that is being played
    count, started = 0, time.monotonic()
    above: Frame | None = None  # at the start of that episode
    previous: tuple[Step, Numbers] | None = None  # a step whose reward comes with the next one, and its features
    with EpisodePlayer(agent) as player, _head_inputs(agent) as features:
        for step in player.play(states, deterministic, seed):
            elapsed = (time.monotonic() - started) / seconds
            above = step.above if step.above is not None else above
            if previous is not None:
                steps.append(_recorded(*previous, reward=step.reward))
                count += 1
            is_enough = count >= states or (elapsed >= 1 and count > 0)
            if steps and (step.last or is_enough):
                bootstrap = 0.0 if step.terminated else _value(readout, step)
                episodes.append(RecordedEpisode(tuple(steps), step.last, bootstrap, above))
                steps = []
            if is_enough:
                break
            previous = None if step.last else (step, features[-1])
            progress(max(count / states, elapsed))
        fps, render_problem = player.fps, player.render_problem
    return Recording(agent, readout, tuple(episodes), fps, render_problem, time.monotonic() - started)


@contextmanager
def _head_inputs(agent: Agent) -> Iterator[list[Numbers]]:
    """Collects the features [F] that the head for policy or action values is given at each call."""
    head = agent.network.heads["policy" if "policy" in agent.network.heads else "q"]
    collected: list[Numbers] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: collected.append(inputs[0].flatten().numpy()))
    try:
        yield collected
    finally:
        hook.remove()


def _recorded(step: Step, features: Numbers, reward: float) -> RecordedStep:
    file = io.BytesIO()
    Image.fromarray(step.frame).save(file, "JPEG", quality=92)
    return RecordedStep(file.getvalue(), step.decision, features, reward, step.place)


def _value(readout: Readout, step: Step) -> float:
    values = readout.read(step.decision.outputs).values
    return 0.0 if values is None else float(values[0])
