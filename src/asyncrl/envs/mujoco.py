"""What MuJoCo prints: by default each warning of each model goes to the terminal and to `MUJOCO_LOG.TXT`."""

from __future__ import annotations

import re
import sys


def print_warnings_once() -> None:
    """Makes MuJoCo, if it has been imported, print each kind of warning once per process and write no file.

    Warnings that a model file uses deprecated attributes are left out: they speak to the author of the model. A handler
    that somebody has set stays.
    """
    mujoco = sys.modules.get("mujoco")
    if mujoco is None or mujoco.get_mju_user_warning() is not None:
        return
    printed: set[str] = set()

    def warn(text: str) -> None:
        kind = re.sub(r"[\d.]+", "", text)  # the same warning may come with other numbers
        if "deprecated" not in text and kind not in printed:
            printed.add(kind)
            print(f"warning: MuJoCo: {text}", file=sys.stderr, flush=True)

    mujoco.set_mju_user_warning(warn)
