"""Plays episodes with an agent and yields each step with its picture and the agent's outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.envs.actions import action_codec
from asyncrl.envs.make import make_environments
from asyncrl.envs.spaces import check_spaces
from asyncrl.errors import UserError
from asyncrl.networks.masks import split_mask
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.rollout_buffer import empty_observations
from asyncrl.tree import tree_map
from asyncrl.types import Outputs, State

Frame = NDArray[np.uint8]  # [height, width, 3]
SMALLEST_SIDE = 320
"""Smaller frames are enlarged by a whole factor until their shorter side has this many pixels."""
LARGEST_SIDE = 640
"""Enlarged frames have at most this many pixels on their longer side."""


@dataclass(frozen=True)
class Decision:
    """What the agent observed, computed and chose at one step of one environment (T = B = 1)."""

    observation: Any  # [1, 1, ...], or that for each key
    state: State  # recurrent state before the observation
    first: torch.Tensor  # [1, 1] bool, whether the observation is its episode's first
    outputs: Outputs  # the network's heads, each [1, 1, ...]
    action: NDArray[Any] | None  # in the agent's own units [...]; None at an episode's final observation


@dataclass(frozen=True)
class Step:
    """One observation of an episode: its picture, the reward that came with it, and the agent's decision."""

    frame: Frame
    reward: float  # unclipped; 0 at the first observation
    total_reward: float  # sum of the episode's rewards so far
    decision: Decision
    terminated: bool = False  # the episode ended in a terminal state, whose value is 0
    truncated: bool = False  # a time limit cut the episode off
    above: Frame | None = None  # the environment from above, at an episode's first observation, if it can be drawn
    place: tuple[float, float] | None = None  # of the agent in that picture, in pixels to the right and down

    @property
    def last(self) -> bool:
        """Whether this is the episode's final observation."""
        return self.terminated or self.truncated


class EpisodePlayer:
    """Plays episodes in one rendered environment; close it by using it in a `with` statement.

    If the environment cannot draw itself, frames show the observation in shades of grey.

    Args:
        agent: The agent that plays. Each step uses its current parameters, so they may change between steps.

    Raises:
        UserError: The environment cannot be made.

    Attributes:
        render_problem: Why the environment cannot draw itself; empty if it can.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent, self.render_problem = agent, ""
        try:
            self.environments = make_environments(agent.experiment, 1, masked=agent.info.masked, render=True)
            try:
                self.environments.reset(seed=0)
                _rendered(self.environments)
            except UserError:
                self.environments.close()
                raise
        except UserError as error:
            self.render_problem = str(error)
            self.environments = make_environments(agent.experiment, 1, masked=agent.info.masked)
        check_spaces(self.environments, agent.info)

    def __enter__(self) -> EpisodePlayer:
        return self

    def __exit__(self, *_: object) -> None:
        self.environments.close()

    @property
    def fps(self) -> float:
        """Steps per second at the environment's own speed (`render_fps`, or 30)."""
        return float(self.environments.metadata.get("render_fps") or 30)

    def play(self, episodes: int, deterministic: bool, seed: int) -> Iterator[Step]:
        """Plays whole episodes one after another and yields their steps, the final observations included.

        Args:
            episodes: Number of episodes.
            deterministic: Take the most probable action instead of drawing one.
            seed: Seed for the environment and the drawn actions.
        """
        agent, environments = self.agent, self.environments
        agent.random.manual_seed(seed)
        observations, info = environments.reset(seed=seed)
        codec = action_codec(agent.info.action_space)
        for _ in range(episodes):
            state, first = agent.network.initial_state(1), torch.ones(1, 1, dtype=torch.bool)
            reward, total, terminated, truncated = 0.0, 0.0, False, False
            above, cell = self._from_above()
            while not (terminated or truncated):
                rows = self._rows(observations)
                outputs, actions, next_state = agent.decide(rows, state, first, deterministic)
                decision = Decision(rows, state, first, outputs, actions[0, 0].numpy())
                yield Step(self._frame(rows), reward, total, decision, above=above, place=_place(info, cell))
                chosen = codec.to_environment(actions[0].numpy())
                observations, rewards, *ends, info = environments.step(chosen)
                terminated, truncated = (bool(end[0]) for end in ends)
                above = None
                state, first, reward = next_state, torch.zeros(1, 1, dtype=torch.bool), float(rewards[0])
                total += reward
            rows = self._rows(observations)
            with torch.no_grad():
                outputs, _ = agent.network(rows, state, first)
            decision = Decision(rows, state, first, outputs, None)
            yield Step(self._frame(rows), reward, total, decision, terminated, truncated and not terminated)
            observations, *_, info = environments.step(chosen)  # environments reset themselves on the step after an end

    def _from_above(self) -> tuple[Frame | None, int]:
        """The environment from above and the pixels of a cell, if it can be drawn so."""
        base: Any = self.environments.unwrapped
        draw = getattr(base.envs[0].unwrapped, "from_above", None) if hasattr(base, "envs") else None
        return (None, 0) if draw is None else draw()

    def _rows(self, observations: Any) -> Any:
        empty = empty_observations(self.agent.info.observation_space)
        return tree_map(lambda seen, array: torch.from_numpy(np.array(array, seen.dtype))[None], empty, observations)

    def _frame(self, rows: Any) -> Frame:
        return _observation_image(rows) if self.render_problem else _rendered(self.environments)


def _place(info: dict[str, Any], cell: int) -> tuple[float, float] | None:
    """Where the agent is in a picture with cells of so many pixels, if the environment says so."""
    if not cell or "position" not in info:
        return None
    x, y = (cell * float(part) for part in info["position"][0])
    return x, y


def _rendered(environments: Any) -> Frame:
    try:
        rendered = environments.render()
    except Exception as error:  # an environment may raise anything where it cannot draw
        reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise UserError(f"the environment cannot draw itself{reason}") from error
    if rendered is None or rendered[0] is None:
        raise UserError("the environment cannot draw itself")
    image = np.asarray(rendered[0])
    if np.issubdtype(image.dtype, np.floating):  # MinAtar draws in [0, 1]
        image = (255 * image).round()
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, -1)
    if image.ndim != 3 or image.shape[-1] < 3:
        raise UserError(f"the environment's pictures are of shape {image.shape}, not (height, width, 3)")
    return _enlarged(image[..., :3].astype(np.uint8))


def _observation_image(observation: Any) -> Frame:
    """An observation [1, 1, ...] in grey: the newest channel of an image, or a bar for each number of a vector.

    Of a dictionary, the entry with the most dimensions is drawn.
    """
    seen, _ = split_mask(observation)
    parts = list(seen.values()) if isinstance(seen, Mapping) else [seen]
    shown = max(parts, key=lambda part: part.dim())[0, 0]
    shades = shown.float() / 255 if shown.dtype == torch.uint8 else torch.sigmoid(shown.float())
    while shades.dim() > 3:
        shades = shades[..., -1]
    if shades.dim() == 3:
        shades = shades[..., -1] if shades.shape[-1] < shades.shape[0] else shades[-1]
    grey = (255 * shades.reshape(-1, shades.shape[-1] if shades.dim() else 1)).to(torch.uint8).numpy()
    return _enlarged(np.repeat(grey[..., None], 3, -1))


def _enlarged(frame: Frame) -> Frame:
    factor = max(1, min(-(-SMALLEST_SIDE // min(frame.shape[:2])), LARGEST_SIDE // max(frame.shape[:2])))
    return frame.repeat(factor, 0).repeat(factor, 1) if factor > 1 else frame.copy()
