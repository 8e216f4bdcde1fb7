"""A window that shows an episode as it is played."""

from __future__ import annotations

import time
from collections.abc import Iterable

from asyncrl.analysis.episode import Moment
from asyncrl.errors import UserError


def show(moments: Iterable[Moment], title: str, fps: float) -> None:
    """Shows moments at `fps` a second until they end or the window is closed.

    Raises:
        UserError: Python has no window toolkit.
    """
    try:
        import tkinter

        window = tkinter.Tk()
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"cannot open a window ({error}): write a video with --video FILE.mp4, or take --serve"
        ) from error
    except tkinter.TclError as error:
        raise UserError(
            f"cannot open a window ({error}): write a video with --video FILE.mp4, or take --serve"
        ) from error
    from PIL import Image, ImageTk

    window.title(title)
    label = tkinter.Label(window)
    label.pack()
    picture = None
    due = time.monotonic()
    try:
        for moment in moments:
            picture = ImageTk.PhotoImage(Image.fromarray(moment.frame))
            label.configure(image=picture)
            window.title(f"{title} · return {moment.total_reward:g}")
            window.update()
            due += 1 / fps
            time.sleep(max(0.0, due - time.monotonic()))
        window.destroy()
    except tkinter.TclError:
        return  # the window was closed
