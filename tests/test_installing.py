"""The remedy for a missing package is a command that works where the program runs."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from asyncrl import installing
from asyncrl.installing import SOURCE, install_command

EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.fixture
def activated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own environment comes first on the search path."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def test_in_a_checkout_the_extra_is_installed_from_the_checkout(
    activated: None, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (SOURCE / "src" / "asyncrl" / "installing.py").is_file()
    assert install_command("asyncrl[fast]") == f'pip install -e "{SOURCE}[fast]"'
    monkeypatch.chdir(SOURCE)
    assert install_command("asyncrl[fast]") == 'pip install -e ".[fast]"'


@pytest.mark.parametrize("extra", ["fast", "export", "minatar", "classic-control", "mlflow"])
def test_an_installed_package_names_what_its_extra_needs(
    extra: str, activated: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "SOURCE", tmp_path)  # where the package's folder would be without a checkout
    words = re.findall(r'"([^"]+)"', install_command(f"asyncrl[{extra}]"))
    assert sorted(words) == sorted(EXTRAS[extra])


def test_the_command_runs_the_pip_of_this_python(monkeypatch: pytest.MonkeyPatch, in_tmp: Path) -> None:
    monkeypatch.setenv("PATH", "")
    assert install_command("vizdoom") == f"{sys.executable} -m pip install vizdoom"
    assert install_command("llvmlite", upgrade=True).endswith(" -m pip install --upgrade llvmlite")
    monkeypatch.chdir(Path(sys.prefix).parent)
    if Path(sys.executable).is_relative_to(Path.cwd()):
        assert install_command("gymnasium[toy-text]") == (
            f'{Path(sys.executable).relative_to(Path.cwd())} -m pip install "gymnasium[toy-text]"'
        )


def test_no_message_names_an_extra_by_itself() -> None:
    for path in (SOURCE / "src" / "asyncrl").rglob("*.py"):
        assert not re.search(r"pip install [^\n]*asyncrl\[", path.read_text("utf-8")), path
