"""A short run that the tests of the server share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asyncrl.cli import main
from asyncrl.run_folder import RunFolder

STEPS = ("--runtime", "serial", "--workers", "1", "--steps", "2k", "--until-return", "None", "--eval-every", "1k")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that has ended; tests must not change it."""
    path = tmp_path_factory.mktemp("serve") / "finished"
    assert main(["train", "Catch", *STEPS, "--eval-episodes", "2", "--run-dir", str(path)]) == 0
    return RunFolder(path)


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the run that a test may change."""
    return RunFolder(Path(shutil.copytree(finished.path, tmp_path / "run")))
