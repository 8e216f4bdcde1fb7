"""Settings and helpers that all tests share."""

from __future__ import annotations

import os
import signal
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
for _number in [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]:
    # ignored under nohup and in the background of a shell, and by all children
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
settings.register_profile("asyncrl", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("asyncrl")


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


POSIX = [
    "gorila/test_cluster.py",
    *(f"runtime/test_{name}.py" for name in ("evaluation", "little_room", "processes", "resume", "spawn", "survival")),
    "serve/test_browser.py",
    "test_bench.py",
    "test_sweep.py",
    "test_tune.py",
]
"""Tests that send signals, open terminals, limit resources or read /proc, which Windows does not have."""
collect_ignore = POSIX if sys.platform == "win32" else []

SHARING = (
    ("cli/test_inspect.py",),
    ("reporting/test_trackers.py",),
    ("serve/",),
    ("test_bench.py",),
    ("gorila/test_cluster.py",),
    ("envs/labyrinth/", "envs/test_doom_labyrinth.py", "analysis/test_auxiliary_chapter.py"),
)
"""Tests that share a run that was started once, that measure speed, or that need what is compiled for labyrinths: one
test process takes all of each group."""
SLOWEST = (
    "gorila/test_cluster.py",
    "learning/",
    "runtime/",
    "test_docs.py",
    "test_export.py",
    "test_package.py",
    "test_sweep.py",
    "test_tune.py",
)
"""Tests that come first, so that the many quick ones keep all test processes busy to the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spreads tests evenly over several test processes (`pytest -n 3 --dist loadgroup`)."""
    here = Path(__file__).parent
    names = {item: item.path.relative_to(here).as_posix() for item in items}
    for item, name in names.items():
        for number, group in enumerate(SHARING):
            if name.startswith(group):
                item.add_marker(pytest.mark.xdist_group(f"group-{number}"))
    items.sort(key=lambda item: not names[item].startswith(SLOWEST))
