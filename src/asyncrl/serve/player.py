"""Plays one game for all pages that are open, and only while there are any."""

from __future__ import annotations

import math
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from asyncrl.analysis.episode import EpisodePlayer, Step
from asyncrl.analysis.json_numbers import json_numbers
from asyncrl.analysis.readout import Readout, readout_of
from asyncrl.config import Experiment
from asyncrl.errors import UserError
from asyncrl.serve.auxiliary_view import AuxiliaryView
from asyncrl.serve.events import Broadcast
from asyncrl.serve.latest import LatestAgent
from asyncrl.serve.pictures import data_url

SPEEDS = (0.0, 0.25, 1.0, 4.0)
"""Multiples of the environment's own speed; 0 is a pause."""
MOST_PICTURES = 30.0
"""Most pictures sent per second, whatever the speed."""
MOST_LISTENERS = 16
RELOAD_SECONDS = 1.5
"""A game without listeners is paused for this long before it ends, for pages that are reloaded."""
RETRY_SECONDS = 5.0
"""Time until a game that failed is started again."""
END_SECONDS = 5.0
"""Longest wait for the environment's last step when the server ends."""


class PictureClock:
    """Decides which steps are sent: at most `MOST_PICTURES` per second, however unevenly steps come."""

    def __init__(self) -> None:
        self.due = -math.inf

    def is_due(self, now: float) -> bool:
        """Whether a picture is due; the next one is due 1 / `MOST_PICTURES` seconds after this one was."""
        if now < self.due:
            return False
        self.due = max(self.due, now - 1 / MOST_PICTURES) + 1 / MOST_PICTURES
        return True


class Player:
    """Plays in a thread of its own at the environment's speed, and sends what happens to all listeners.

    Args:
        latest: The agent that plays.
        deterministic: Take the most probable action instead of drawing one.
        seed: Seed for the environment and the drawn actions.
    """

    def __init__(self, latest: LatestAgent, deterministic: bool = False, seed: int = 0) -> None:
        self.latest, self.deterministic, self.seed = latest, deterministic, seed
        self.broadcast, self.speed = Broadcast(), 1.0
        self.readout: Readout | None = None  # made when the first game starts
        self.thread = threading.Thread(target=self._run, name="asyncrl-player", daemon=True)

    def start(self) -> None:
        """Starts the thread, which waits for listeners."""
        self.set_speed(self.speed)
        self.thread.start()

    def close(self) -> bool:
        """Ends the game and all streams, and says whether the thread has ended."""
        self.broadcast.close()
        if self.thread.is_alive():
            self.thread.join(END_SECONDS)
        return not self.thread.is_alive()

    @property
    def is_full(self) -> bool:
        """Whether there are as many listeners as can be served."""
        return len(self.broadcast.listeners) >= MOST_LISTENERS

    def set_speed(self, speed: float) -> None:
        """Changes the speed for all pages."""
        self.speed = speed
        self.broadcast.send("speed", {"speed": speed})

    def _run(self) -> None:
        torch.set_num_threads(1)  # small batches are no faster on more
        broadcast = self.broadcast
        while True:
            with broadcast.changed:
                broadcast.changed.wait_for(lambda: broadcast.has_listeners or broadcast.closed)
            if broadcast.closed:
                return
            try:
                broadcast.send("notice", {"text": "starting the environment"})
                if self._wait_for_parameters():
                    self._play()
            except Exception as error:  # an error of the environment must not end the server
                text = error if isinstance(error, UserError) else traceback.format_exception_only(error)[-1].strip()
                broadcast.send("notice", {"text": f"the game cannot go on: {text}"})
                self._wait(RETRY_SECONDS)
            broadcast.forget("setup", "step", "notice")

    def _wait(self, seconds: float) -> bool:
        """Waits, and returns whether somebody still listens, or listens again, as when a page is reloaded."""
        broadcast, until = self.broadcast, time.monotonic() + seconds
        with broadcast.changed:
            while broadcast.has_listeners and (left := until - time.monotonic()) > 0:
                broadcast.changed.wait(left)
            return broadcast.changed.wait_for(lambda: broadcast.has_listeners or broadcast.closed, RELOAD_SECONDS) and (
                not broadcast.closed
            )

    def _wait_for_parameters(self) -> bool:
        """Waits for the first checkpoint, and returns whether there is one."""
        self.latest.refresh()
        while self.latest.steps is None:
            text = self.latest.problem or "waiting for the run's first checkpoint"
            self.broadcast.send("notice", {"text": text})
            if not self._wait(0.3):
                return False
            self.latest.refresh()
        return True

    def _play(self) -> None:
        """Plays until nobody listens."""
        agent = self.latest.agent
        self.readout = readout = self.readout or readout_of(agent)
        auxiliary, clock, length, episode = AuxiliaryView(agent), PictureClock(), 0, 1
        with EpisodePlayer(agent) as player:
            self.broadcast.send("setup", _setup(readout, agent.experiment, player.fps))
            render_problem = player.render_problem and f"{player.render_problem}: the observation is shown instead"
            for step in self._paced(player.play(sys.maxsize, self.deterministic, self.seed), player.fps):
                auxiliary.observe(step.decision)
                if clock.is_due(time.monotonic()) or step.last:
                    counts = {"episode": episode, "length": length}
                    shown = _shown(step, readout, self.latest.agent.reward_rule.scale)
                    shown |= auxiliary.read(self.latest.agent, step.decision)
                    self.broadcast.send("step", self._parameters(render_problem) | counts | shown)
                length, episode = (0, episode + 1) if step.last else (length + 1, episode)
                self.latest.refresh()

    def _paced(self, steps: Iterator[Step], fps: float) -> Iterator[Step]:
        """Yields `fps` steps per second, times the speed, until nobody listens."""
        due = time.monotonic()
        for step in steps:
            while self.speed == 0:
                if not self._wait(0.1):
                    return
            if not self._wait(max(0.0, due - time.monotonic())):
                return
            yield step
            earliest = time.monotonic() - 1 / fps  # steps missed in a pause are not caught up with
            due = max(due + 1 / (fps * (self.speed or 1.0)), earliest)

    def _parameters(self, render_problem: str) -> dict[str, Any]:
        """The step and age in seconds of the parameters in use, and a problem to show, if there is one."""
        latest = self.latest
        problem = f"the newest checkpoint is not in use: {latest.problem}" if latest.problem else render_problem
        return {"steps": latest.steps, "age": round(max(0.0, time.time() - latest.written_at), 1), "problem": problem}


def _setup(readout: Readout, experiment: Experiment, fps: float) -> dict[str, Any]:
    note = _note_on_values(experiment) if readout.has_value else ""
    return {"kind": readout.kind, "names": readout.names, "sizes": readout.sizes, "fps": fps, "note": note}


def _note_on_values(experiment: Experiment) -> str:
    """What the expected return is of, beside the return so far."""
    clipped = "" if experiment.reward_clip is None else f"clipped to ±{experiment.reward_clip:g} and "
    discount = experiment.algorithm.discount
    return f"expected: the agent's estimate of the rewards to come, each {clipped}discounted by {discount:g} per step"


def _shown(step: Step, readout: Readout, scale: float) -> dict[str, Any]:
    """What a page shows of a step; at an episode's final observation, no action is chosen.

    Values are divided by the scale of the rewards that they were learned from, so that they compare with the return.
    """
    shown = {
        "frame": data_url(step.frame),
        "reward": json_numbers(step.reward),
        "return": json_numbers(step.total_reward),
        "last": step.last,
    }
    if step.decision.action is None:
        return shown
    reading = readout.read(step.decision.outputs)
    preferences = reading.preferences[0] / (scale if readout.kind == "action values" else 1.0)
    return shown | {
        "preferences": json_numbers(preferences),
        "deviation": None if reading.deviations is None else json_numbers(reading.deviations[0]),
        "value": None if reading.values is None else json_numbers(reading.values[0] / scale),
        "chosen": json_numbers(np.atleast_1d(step.decision.action)),
    }
