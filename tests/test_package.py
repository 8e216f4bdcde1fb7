"""The package as others get it: built as a wheel, installed from it, and used without the repository."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.pages import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
PACKAGE = REPOSITORY / "src" / "asyncrl"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the installed build backend, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed; what it depends on comes from the tests' environment."""
    folder = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
    ]
    done = subprocess.run([*command, "--target", str(folder), str(wheel)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    sources = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("asyncrl-")}
    assert packed == {path.relative_to(PACKAGE.parent).as_posix() for path in sources}
    assert {"asyncrl/py.typed", "asyncrl/analysis/pages/report.html", "asyncrl/analysis/pages/static/live.js"} <= packed


def test_the_metadata_has_the_command_the_extras_and_the_license(installed: Path) -> None:
    (distribution,) = importlib.metadata.distributions(path=[str(installed)])
    assert distribution.version == PROJECT["version"]
    assert distribution.metadata["Requires-Python"] == PROJECT["requires-python"]
    assert set(distribution.metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert [(point.name, point.value) for point in distribution.entry_points] == [("asyncrl", "asyncrl.cli:main")]
    assert distribution.metadata.get_all("License-File") == ["LICENSE"]


@pytest.mark.skipif(sys.platform == "win32", reason="pip writes scripts for Windows as programs")
def test_the_installed_command_trains_without_the_repository(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert Path(run("-c", "import asyncrl; print(asyncrl.__file__)")).is_relative_to(installed)
    settings = ("--runtime", "serial", "--steps", "500", "--run-dir", "run")
    run(str(installed / "bin" / "asyncrl"), "train", "Catch", *settings)
    assert json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))["steps"] >= 500
