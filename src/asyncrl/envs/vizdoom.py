"""ViZDoom's environments: the ends of episodes as Gymnasium defines them, and engines that end with their worker."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
import time
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import psutil
from gymnasium.envs.registration import EnvSpec

from asyncrl.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
_LEFT = re.compile(r"ViZDoom(?:MQCtr|MQDoom|SM)(\w+)")
_YOUNG = 60.0
"""Seconds for which shared memory may belong to an engine that is about to start."""

_LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # the system kills this process once the thread that started it has ended
os.setsid()  # Ctrl-C does not reach it: its worker stops first
os.chdir(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
"""


def is_vizdoom(spec: EnvSpec) -> bool:
    """Whether an id is one of ViZDoom's own environments."""
    return str(spec.entry_point).startswith("vizdoom.")


def frame_skip(spec: EnvSpec, options: dict[str, Any]) -> int:
    """Frames of the game for which an action lasts in ViZDoom's own environments and in VizdoomLabyrinth; else 1."""
    if not spec.id.startswith("Vizdoom"):
        return 1
    return int(options.get("frame_skip", spec.kwargs.get("frame_skip", 1)))


class Episodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment of ViZDoom with the ends of episodes that Gymnasium defines.

    ViZDoom calls an episode that was cut off by its time limit both terminated and truncated, and gives a black picture
    after every end. Here it is truncated alone, and the last picture comes again, so that its value can be estimated.

    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.latest: Any = None
        end_with_this_process(env.unwrapped.game)  # type: ignore[attr-defined]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        self.latest, info = self.env.reset(seed=seed, options=options)
        return self.latest, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Acts for as many frames as the environment's `frame_skip` says."""
        observations, reward, terminated, truncated, info = self.env.step(action)
        if not (terminated or truncated):
            self.latest = observations
        return self.latest, float(reward), terminated and not truncated, truncated, info


def end_with_this_process(game: Any) -> None:
    """Lets an engine that has not been started end with this process, even if that is killed; on Linux.

    The engine is a process of its own. It will write its files to a folder for temporary files.

    Args:
        game: A DoomGame.
    """
    if sys.platform == "linux":
        remove_leftovers()
        game.set_vizdoom_path(str(_launcher()))


@cache
def _launcher() -> Path:
    """A program that starts the engine so that it ends with this process; kept in a folder of this user."""
    import vizdoom

    folder = Path(tempfile.gettempdir()) / f"asyncrl-vizdoom-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder} belongs to another user: set TMPDIR to another folder")
    engine = Path(vizdoom.__file__).parent / "vizdoom"
    words = [sys.executable, "-ISc", _LAUNCH, str(folder), str(engine)]
    text = f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'
    script = folder / f"launch-{os.getpid()}"
    script.write_text(text, "utf-8")
    script.chmod(0o700)
    launcher = script.replace(folder / f"launch-with-{zlib.crc32(text.encode()):08x}")
    if not os.access(launcher, os.X_OK):
        raise UserError(f"no program can be started from {folder}: set TMPDIR to a folder from which ViZDoom's can")
    return launcher


def remove_leftovers() -> None:
    """Removes the shared memory of engines whose players were killed; each took a few megabytes."""
    found = [(path, match[1]) for path in SHARED_MEMORY.glob("ViZDoom*") if (match := _LEFT.fullmatch(path.name))]
    if not found:
        return
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    running = {word for command in commands for word in command}
    for path, instance in found:
        try:
            if instance not in running and time.time() - path.stat().st_mtime > _YOUNG:
                path.unlink()
        except OSError:
            continue  # another user's, or removed meanwhile
