"""Imported by the fork server alone: it removes the folder of its socket when the process that trains was killed.

A process that ends normally removes that folder itself. One that is killed cannot, and the fork server is the process
that outlives it and all of its workers.
"""

from __future__ import annotations

import atexit
import multiprocessing.forkserver
import os
import shutil
import time
from pathlib import Path

END_SECONDS = 5.0
"""How long the death of the process that trains may take once its files are closed."""


def _remove_folder(server: int, parent: int) -> None:
    address = getattr(multiprocessing.forkserver._forkserver, "_forkserver_address", None)
    if os.getpid() != server or not address:  # a worker, which inherited this function
        return
    folder, deadline = Path(address).parent, time.monotonic() + END_SECONDS
    while os.getppid() == parent:  # its files are closed a moment before it is gone
        if time.monotonic() > deadline:
            return  # it lives, and starts another fork server with this folder
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


atexit.register(_remove_folder, os.getpid(), os.getppid())
