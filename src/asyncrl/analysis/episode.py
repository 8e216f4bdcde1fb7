"""Films of a trained agent: whole episodes as frames, written as mp4 or gif, or shown in a window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.envs.actions import action_codec
from asyncrl.envs.make import make_environments
from asyncrl.envs.spaces import check_spaces
from asyncrl.errors import UserError
from asyncrl.runtime.agent import Agent
from asyncrl.runtime.rollout_buffer import empty_observations
from asyncrl.tree import tree_map
from asyncrl.types import Outputs, State

Frame = NDArray[np.uint8]  # [height, width, 3]
SMALLEST_SIDE = 320
"""Pictures smaller than this are enlarged by a whole factor, so that Atari's 160 columns can be seen."""
LARGEST_SIDE = 640
"""Not beyond this, however."""


@dataclass(frozen=True)
class Decision:
    """What an agent saw, said and chose; one step of one environment, T = B = 1."""

    observation: Any  # [1, 1, ...], or that for each key
    state: State  # recurrent, before it
    first: torch.Tensor  # [1, 1] bool, whether the observation is its episode's first
    outputs: Outputs  # of the heads, each [1, 1, ...]
    action: NDArray[Any] | None  # as the agent gives it [...]; None at an episode's last observation


@dataclass(frozen=True)
class Moment:
    """An observation of an episode, from outside and from inside."""

    frame: Frame
    reward: float  # that came with it, unclipped
    total_reward: float  # of the episode so far
    decision: Decision
    terminated: bool = False  # the episode ends here, and is worth nothing afterwards
    truncated: bool = False  # it is cut off here

    @property
    def last(self) -> bool:
        """Whether the episode ends here."""
        return self.terminated or self.truncated


class Stage:
    """One environment that an agent plays in and that can be looked at; close it, or use it in a `with` statement.

    Of an environment that draws no picture of itself, what is observed is shown as shades.

    Args:
        agent: Who plays. Its network is used as it is at each step: its parameters may change meanwhile.

    Raises:
        UserError: The environment cannot be made.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent, self.why_shades = agent, ""  # why there are no pictures
        try:
            self.environments = make_environments(agent.experiment, 1, render=True)
            try:
                self.environments.reset(seed=0)
                _picture(self.environments)
            except UserError:
                self.environments.close()
                raise
        except UserError as error:
            self.why_shades = str(error)
            self.environments = make_environments(agent.experiment, 1)
        check_spaces(self.environments, agent.info)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.environments.close()

    @property
    def rate(self) -> float:
        """How many steps a second of the environment's own time has."""
        return float(self.environments.metadata.get("render_fps") or 30)

    def play(self, episodes: int, deterministic: bool, seed: int) -> Iterator[Moment]:
        """Plays episodes one after another and yields all there is to see of them.

        Args:
            episodes: How many.
            deterministic: Take the best known actions.
            seed: Of environment and actions.
        """
        agent, environments = self.agent, self.environments
        agent.random.manual_seed(seed)
        observations, _ = environments.reset(seed=seed)
        codec = action_codec(agent.info.action_space)
        for _ in range(episodes):
            state, first = agent.network.initial_state(1), torch.ones(1, 1, dtype=torch.bool)
            reward, total, terminated, truncated = 0.0, 0.0, False, False
            while not (terminated or truncated):
                rows = self._rows(observations)
                outputs, actions, after = agent.decide(rows, state, first, deterministic)
                decision = Decision(rows, state, first, outputs, actions[0, 0].numpy())
                yield Moment(self._frame(rows), reward, total, decision)
                chosen = codec.to_environment(actions[0].numpy())
                observations, rewards, *ends, _ = environments.step(chosen)
                terminated, truncated = (bool(end[0]) for end in ends)
                state, first, reward = after, torch.zeros(1, 1, dtype=torch.bool), float(rewards[0])
                total += reward
            rows = self._rows(observations)
            with torch.no_grad():
                outputs, _ = agent.network(rows, state, first)
            decision = Decision(rows, state, first, outputs, None)
            yield Moment(self._frame(rows), reward, total, decision, terminated, truncated and not terminated)
            observations = environments.step(chosen)[0]  # the dummy step that resets it

    def _rows(self, observations: Any) -> Any:
        empty = empty_observations(self.agent.info.observation_space)
        return tree_map(lambda seen, array: torch.from_numpy(np.array(array, seen.dtype))[None], empty, observations)

    def _frame(self, rows: Any) -> Frame:
        return _shades(rows) if self.why_shades else _picture(self.environments)


def write_video(frames: Iterable[Frame], path: Path, fps: float) -> None:
    """Writes frames to an .mp4 (H.264) or a .gif.

    Raises:
        UserError: The ending is another, or the file cannot be written.
    """
    if path.suffix not in (".mp4", ".gif"):
        raise UserError(f"videos end in .mp4 or .gif, not {path.name!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (_write_gif if path.suffix == ".gif" else _write_mp4)(frames, path, fps)
    except OSError as error:
        raise UserError(f"cannot write the video {path}: {error}") from error


def _write_mp4(frames: Iterable[Frame], path: Path, fps: float) -> None:
    import imageio_ffmpeg

    writer: Any = None
    for frame in frames:
        frame = frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2]  # H.264 has no odd sizes
        if writer is None:
            height, width = frame.shape[:2]
            writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=fps, quality=7, macro_block_size=2)
            writer.send(None)
        writer.send(np.ascontiguousarray(frame))
    if writer is not None:
        writer.close()


def _write_gif(frames: Iterable[Frame], path: Path, fps: float) -> None:
    from PIL import Image

    images = [Image.fromarray(frame).quantize(64) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0, optimize=True)


def _picture(environments: Any) -> Frame:
    try:
        rendered = environments.render()
    except Exception as error:  # whatever a foreign environment raises where it cannot draw
        reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise UserError(f"the environment gives no picture of itself{reason}") from error
    if rendered is None or rendered[0] is None:
        raise UserError("the environment gives no picture of itself")
    image = np.asarray(rendered[0])
    if np.issubdtype(image.dtype, np.floating):  # MinAtar's, in [0, 1]
        image = (255 * image).round()
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, -1)
    if image.ndim != 3 or image.shape[-1] < 3:
        raise UserError(f"the environment's pictures are of shape {image.shape}, not (height, width, 3)")
    return _enlarged(image[..., :3].astype(np.uint8))


def _shades(observation: Any) -> Frame:
    """What is observed [1, 1, ...] in grey: the newest of an image's channels, or a bar for each number of a vector."""
    parts = list(observation.values()) if isinstance(observation, Mapping) else [observation]
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
