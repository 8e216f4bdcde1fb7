"""A window that shows an episode while it is played."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asyncrl.errors import UserError

if TYPE_CHECKING:
    from asyncrl.analysis.episode import Step  # imports torch

ALTERNATIVES = "write a video with --video FILE.mp4, or show the agent in a browser with --serve"
"""What to do where no window can be opened."""


def show(steps: Iterable[Step], title: str, fps: float) -> None:
    """Shows steps at a speed of `fps` until they end or the window is closed.

    Raises:
        UserError: Python has no window toolkit, or no window can be opened.
    """
    window = _open_window()
    import tkinter

    from PIL import Image, ImageTk

    window.title(title)
    label = tkinter.Label(window)
    label.pack()
    picture = None  # tkinter keeps no reference to it
    due = time.monotonic()
    try:
        for step in steps:
            picture = ImageTk.PhotoImage(Image.fromarray(step.frame))
            label.configure(image=picture)
            window.title(f"{title} · return {step.total_reward:g}")
            window.update()
            due += 1 / fps
            time.sleep(max(0.0, due - time.monotonic()))
        window.destroy()
    except tkinter.TclError:
        return  # the window was closed


def _open_window() -> Any:
    try:
        import tkinter
    except (ImportError, RuntimeError) as error:
        raise UserError(f"cannot open a window ({error}): {ALTERNATIVES}") from error
    try:
        return tkinter.Tk()
    except (RuntimeError, tkinter.TclError) as error:
        raise UserError(f"cannot open a window ({error}): {ALTERNATIVES}") from error
