"""One episode of an agent as a small animated gif, for reports."""

from __future__ import annotations

import io
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asyncrl.analysis.episode import Frame, Stage
from asyncrl.errors import UserError
from asyncrl.runtime.agent import Agent
from asyncrl.types import Video

MOST_FRAMES = 200
"""Of longer episodes every second frame is left out, or more."""
MOST_STEPS = 10_000
"""What comes later in an episode is not played."""
LARGEST_SIDE = 256
"""In pixels: larger pictures are made smaller."""
FRAME_MILLISECONDS = 50
COLOURS = 64


def film(agent: Agent, seed: int, pulse: NDArray[np.int64] | None = None) -> Video:
    """Plays one episode and films it.

    Args:
        agent: Who plays, drawing its actions as in training.
        seed: Of environment and actions.
        pulse: A number [1] counted up as a sign of life.

    Raises:
        UserError: The environment gives no picture of itself.
    """
    kept: list[Image.Image] = []
    stride = 1
    with Stage(agent) as stage:
        if stage.why_shades:
            raise UserError(stage.why_shades)
        for step, moment in enumerate(islice(stage.play(1, deterministic=False, seed=seed), MOST_STEPS + 1)):
            if pulse is not None:
                pulse[0] += 1
            if moment.last or step % stride == 0:
                kept.append(_small(moment.frame))
            if len(kept) > MOST_FRAMES:
                kept, stride = kept[::2], 2 * stride
    first, *others = kept
    file = io.BytesIO()
    first.save(file, "gif", save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0)
    return Video(file.getvalue(), first.width, first.height, step, moment.total_reward)


def _small(frame: Frame) -> Image.Image:
    picture = Image.fromarray(frame)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return picture.quantize(COLOURS)
