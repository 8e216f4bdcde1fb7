"""Video files of episodes: mp4 and gif files for people, small gifs for trackers."""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asyncrl.analysis.episode import EpisodePlayer, Frame
from asyncrl.errors import UserError
from asyncrl.runtime.agent import Agent
from asyncrl.types import Video

GIF_COLOURS = 64
MOST_FRAMES = 200
"""Most frames in a tracker's gif: of longer episodes only every second, fourth, ... frame is kept."""
MOST_STEPS = 10_000
"""A video ends after this many steps unless more are asked for; a tracker's gif always does."""
LARGEST_SIDE = 256
"""Larger frames are shrunk until their longer side has this many pixels in a tracker's gif."""
FRAME_MILLISECONDS = 50


def write_video(frames: Iterable[Frame], path: Path, fps: float) -> None:
    """Writes frames to an .mp4 (H.264) or a .gif.

    Raises:
        UserError: The file name ends differently, or the file cannot be written.
    """
    if path.suffix not in (".mp4", ".gif"):
        raise UserError(f"videos end in .mp4 or .gif, not {path.name!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".gif":
            _write_gif([_reduced(frame) for frame in frames], path, round(1000 / fps))
        else:
            _write_mp4(frames, path, fps)
    except OSError as error:
        raise UserError(f"cannot write the video {path}: {error}") from error


def episode_gif(agent: Agent, seed: int, pulse: NDArray[np.int64] | None = None) -> Video:
    """Plays one episode, with actions drawn as in training, and makes a small gif of it.

    Args:
        agent: The agent that plays.
        seed: Seed for the environment and the drawn actions.
        pulse: A counter [1] that is increased at each step, as a heartbeat.

    Raises:
        UserError: The environment cannot draw itself.
    """
    kept: list[Image.Image] = []
    stride = 1
    with EpisodePlayer(agent) as player:
        if player.render_problem:
            raise UserError(player.render_problem)
        for number, step in enumerate(islice(player.play(1, deterministic=False, seed=seed), MOST_STEPS + 1)):
            if pulse is not None:
                pulse[0] += 1
            if step.last or number % stride == 0:
                kept.append(_reduced(step.frame, LARGEST_SIDE))
            if len(kept) > MOST_FRAMES:
                kept, stride = kept[::2], 2 * stride
    file = io.BytesIO()
    _write_gif(kept, file, FRAME_MILLISECONDS)
    return Video(file.getvalue(), kept[0].width, kept[0].height, number, step.total_reward)


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


def _write_gif(images: list[Image.Image], file: Path | io.BytesIO, milliseconds: int) -> None:
    first, *others = images
    first.save(file, "gif", save_all=True, append_images=others, duration=milliseconds, loop=0, optimize=True)


def _reduced(frame: Frame, largest_side: int | None = None) -> Image.Image:
    """The frame with few colours, shrunk if it is larger than asked for."""
    image = Image.fromarray(frame)
    if largest_side is not None:
        image.thumbnail((largest_side, largest_side))
    return image.quantize(GIF_COLOURS)
