"""The agent at play for as many pages as are open: one game, which goes on while anybody looks."""

from __future__ import annotations

import base64
import io
import math
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from asyncrl.analysis.episode import Frame, Moment, Stage
from asyncrl.analysis.readout import Reading, Readout, readout_of
from asyncrl.errors import UserError
from asyncrl.serve.events import Broadcast
from asyncrl.serve.latest import LatestAgent

SPEEDS = (0.0, 0.25, 1.0, 4.0)
"""Times the environment's own speed; 0 is a pause."""
MOST_PICTURES = 30.0
"""That are sent in a second, whatever the speed."""
MOST_LISTENERS = 16
LARGE = 160_000
"""Pixels from which on pictures are sent as JPEG; smaller ones are sharp, and soon packed, as PNG."""
RELOAD_SECONDS = 1.5
"""For which a game without listeners is kept, standing still."""
RETRY_SECONDS = 5.0
"""Until a game that failed is begun anew."""
END_SECONDS = 5.0
"""How long an environment may take for its last step."""


class PictureClock:
    """Says which moments' pictures are sent: no more than `MOST_PICTURES` a second, however unevenly moments come."""

    def __init__(self) -> None:
        self.due = -math.inf

    def is_due(self, now: float) -> bool:
        """Whether one is due; the next one is after 1 / `MOST_PICTURES` seconds, less what this one is late."""
        if now < self.due:
            return False
        self.due = max(self.due, now - 1 / MOST_PICTURES) + 1 / MOST_PICTURES
        return True


class Player:
    """Plays in a thread of its own, at the environment's speed, and tells all who listen what there is to see.

    Args:
        latest: Who plays.
        deterministic: Take the best known actions.
        seed: Of environment and actions.
    """

    def __init__(self, latest: LatestAgent, deterministic: bool = False, seed: int = 0) -> None:
        self.latest, self.deterministic, self.seed = latest, deterministic, seed
        self.broadcast, self.speed = Broadcast(), 1.0
        self.readout: Readout | None = None  # once something was played
        self.thread = threading.Thread(target=self._run, name="asyncrl-player", daemon=True)

    def start(self) -> None:
        """Begins to wait for listeners."""
        self.set_speed(self.speed)
        self.thread.start()

    def close(self) -> None:
        """Ends the game and all streams."""
        self.broadcast.close()
        if self.thread.is_alive():
            self.thread.join(END_SECONDS)

    @property
    def is_full(self) -> bool:
        """Whether no more pages can be served."""
        return len(self.broadcast.listeners) >= MOST_LISTENERS

    def set_speed(self, speed: float) -> None:
        """Changes the speed for all pages."""
        self.speed = speed
        self.broadcast.tell("speed", {"speed": speed})

    def _run(self) -> None:
        torch.set_num_threads(1)  # small batches are no faster on more
        broadcast = self.broadcast
        while True:
            with broadcast.changed:
                broadcast.changed.wait_for(lambda: broadcast.is_heard or broadcast.closed)
            if broadcast.closed:
                return
            try:
                broadcast.tell("notice", {"text": "starting the environment"})
                if self._wait_for_parameters():
                    self._play()
            except Exception as error:  # whatever a foreign environment raises must not end the server
                text = error if isinstance(error, UserError) else traceback.format_exception_only(error)[-1].strip()
                broadcast.tell("notice", {"text": f"the game cannot go on: {text}"})
                self._wait(RETRY_SECONDS)
            broadcast.forget("setup", "moment", "notice")

    def _wait(self, seconds: float) -> bool:
        """Waits so long; whether somebody listens still, or again, as when a page is loaded anew."""
        broadcast, until = self.broadcast, time.monotonic() + seconds
        with broadcast.changed:
            while broadcast.is_heard and (left := until - time.monotonic()) > 0:
                broadcast.changed.wait(left)
            return broadcast.changed.wait_for(lambda: broadcast.is_heard or broadcast.closed, RELOAD_SECONDS) and (
                not broadcast.closed
            )

    def _wait_for_parameters(self) -> bool:
        """Waits for the first checkpoint; whether there is one."""
        self.latest.refresh()
        while self.latest.steps is None:
            text = self.latest.problem or "waiting for the run's first checkpoint"
            self.broadcast.tell("notice", {"text": text})
            if not self._wait(0.3):
                return False
            self.latest.refresh()
        return True

    def _play(self) -> None:
        """Plays until nobody listens."""
        agent = self.latest.agent
        self.readout = readout = self.readout or readout_of(agent)
        clock, length, episode = PictureClock(), 0, 1
        with Stage(agent) as stage:
            self.broadcast.tell("setup", _setup(readout, stage.rate))
            shades = f"{stage.why_shades}: what it observes is shown" if stage.why_shades else ""
            for moment in self._paced(stage.play(sys.maxsize, self.deterministic, self.seed), stage.rate):
                if clock.is_due(time.monotonic()) or moment.last:
                    self.broadcast.tell(
                        "moment",
                        self._parameters(shades) | {"episode": episode, "length": length} | _seen(moment, readout),
                    )
                length, episode = (0, episode + 1) if moment.last else (length + 1, episode)
                self.latest.refresh()

    def _paced(self, moments: Iterator[Moment], rate: float) -> Iterator[Moment]:
        """The moments in their time, `rate` a second, until nobody listens."""
        due = time.monotonic()
        for moment in moments:
            while self.speed == 0:
                if not self._wait(0.1):
                    return
            if not self._wait(max(0.0, due - time.monotonic())):
                return
            yield moment
            due = max(due + 1 / (rate * (self.speed or 1.0)), time.monotonic() - 1 / rate)  # no hurry after a pause

    def _parameters(self, problem: str) -> dict[str, Any]:
        """Which ones are in use, and what is wrong with newer ones, or else with the game."""
        age = max(0.0, time.time() - self.latest.written_at)
        return {"steps": self.latest.steps, "age": round(age, 1), "problem": self.latest.problem or problem}


def _setup(readout: Readout, rate: float) -> dict[str, Any]:
    return {"kind": readout.kind, "names": readout.names, "sizes": readout.sizes, "rate": rate}


def _seen(moment: Moment, readout: Readout) -> dict[str, Any]:
    """What a page shows of a moment; of an episode's last one nothing was said or chosen."""
    seen = {"frame": _data_url(moment.frame), "reward": _finite(moment.reward), "return": _finite(moment.total_reward)}
    if moment.decision.action is None:
        return seen | {"last": True}
    reading: Reading = readout.read(moment.decision.outputs)
    return seen | {
        "last": False,
        "preferences": [_finite(number) for number in reading.preferences[0]],
        "deviation": None if reading.deviations is None else _finite(reading.deviations[0]),
        "value": None if reading.values is None else _finite(reading.values[0]),
        "chosen": [_finite(number) for number in np.atleast_1d(moment.decision.action)],
    }


def _finite(number: Any) -> float | None:
    """A number as JSON has it, to six digits."""
    return float(f"{float(number):.6g}") if math.isfinite(number) else None


def _data_url(frame: Frame) -> str:
    from PIL import Image

    buffer, image = io.BytesIO(), Image.fromarray(frame)
    if frame.shape[0] * frame.shape[1] > LARGE:
        kind = "jpeg"
        image.save(buffer, "JPEG", quality=85)
    else:
        kind = "png"
        image.save(buffer, "PNG", compress_level=1)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
