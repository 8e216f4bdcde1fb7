"""Settings and helpers that all tests share."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
for _number in (
    signal.SIGINT,
    signal.SIGHUP,
):  # ignored under nohup and in the background of a shell, and by all children
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
settings.register_profile("asyncrl", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("asyncrl")


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


WITH_PROCESSES = ("runtime/", "serve/", "reporting/", "test_bench.py", "test_sweep.py", "test_strangers.py")
"""Tests that start processes and measure time: with several test processes (`pytest -n 2`) one takes them all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests with processes into one group."""
    here = Path(__file__).parent
    for item in items:
        if str(item.path.relative_to(here)).startswith(WITH_PROCESSES):
            item.add_marker(pytest.mark.xdist_group("processes"))
