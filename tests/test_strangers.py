"""Run folders from strangers: nothing in them is executed, and whatever they hold is right or refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncrl
from asyncrl.cli import main
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.sweep.specification import Sweep
from tests.damage import damaged

FIXTURE = Path(__file__).parent / "fixtures" / "format-2-catch"

EVIL = """
import pathlib
pathlib.Path("executed").touch()
def torso(space):
    from asyncrl.networks.torso import VectorTorso
    return VectorTorso(space, (8,))
from asyncrl.algorithms import A3C as Algorithm
import asyncrl.envs
"""


@pytest.fixture
def run(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder, and a module beside it that says when it is imported."""
    monkeypatch.syspath_prepend(in_tmp)
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    shutil.copytree(FIXTURE, in_tmp / "run")
    (in_tmp / "evil.py").write_text(EVIL)
    (in_tmp / "run" / "metrics.jsonl").write_text('{"steps": 1, "return_mean": 0.5, "wall_seconds": 1, "frames": 1}\n')
    return in_tmp / "run"


def change(run: Path, **changes: Any) -> None:
    data = yaml.safe_load((run / "experiment.yaml").read_text())
    for name, value in changes.items():
        group, _, key = name.partition("__")
        if key:
            data[group][key] = value
        else:
            data[group] = value
    (run / "experiment.yaml").write_text(yaml.safe_dump(data))


NAMES: list[dict[str, str]] = [
    {"algorithm__name": "evil:Algorithm"},
    {"network__torso": "evil:torso"},
    {"environment": "evil:Catch-v0"},
]
OPTIMIZER = {"optimizer__optimizer": "evil:Optimizer"}  # only training imports it


@pytest.mark.parametrize("changes", [*NAMES, OPTIMIZER], ids=["algorithm", "torso", "environment", "optimizer"])
@pytest.mark.parametrize(
    "command",
    [
        ["eval", "run"],
        ["watch", "run", "--video", "a.gif"],
        ["train", "--resume", "--run-dir", "run"],
        ["plot", "run", "--output", "a.png"],
        ["doctor", "run"],
    ],
    ids=lambda command: command[0],
)
def test_no_module_of_a_run_folder_is_imported(
    run: Path, changes: dict[str, str], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, **changes)
    code = main(command)
    if command[0] in ("eval", "watch", "train"):
        assert code == 2
        assert "uses code that is not asyncrl's: if you trust that code, add --import evil" in capsys.readouterr().err
    assert not Path("executed").exists()
    with pytest.raises(UserError, match="--import evil"):
        asyncrl.load(run)
    assert not Path("executed").exists()


@pytest.mark.parametrize("changes", NAMES, ids=["algorithm", "torso", "environment"])
def test_a_module_that_the_user_names_is_imported(run: Path, changes: dict[str, str]) -> None:
    change(run, **changes)
    assert main(["eval", "run", "--episodes", "2", "--import", "evil"]) == 0
    assert Path("executed").exists()


def test_a_package_that_an_id_needs_is_not_taken_from_the_current_folder(run: Path) -> None:
    change(run, environment="MiniGrid-Empty-5x5-v0")
    Path("minigrid.py").write_text("import pathlib\npathlib.Path('executed').touch()\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    program = "import sys; sys.path.remove(''); from asyncrl.cli import main; sys.exit(main(['eval', 'run']))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=250)
    assert done.returncode == 2, done.stderr
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("sweep", "module"),
    [
        (Sweep("evil:Catch-v0", {}, {}, 1, [1], [], 0, False), "evil"),
        (Sweep("Catch", {"optimizer": ["evil:Optimizer"]}, {}, 1, [1], [], 0, False), "evil"),
        (Sweep("Catch", {}, {}, 1, [1], ["--algorithm=evil:Algorithm"], 0, False), "evil"),
        (Sweep("Catch", {}, {}, 1, [1], ["--algorithm", "evil-too:Algorithm"], 0, False), "evil-too"),
    ],
)
def test_a_sweep_of_a_stranger_imports_nothing(
    run: Path, sweep: Sweep, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("evil-too.py").write_text(EVIL)  # no identifier, but it can be imported
    Path("s").mkdir()
    (Path("s") / "sweep.yaml").write_text(yaml.safe_dump(dataclasses.asdict(sweep)))
    assert main(["sweep", "--dir", "s"]) == 2
    assert capsys.readouterr().err.endswith(
        f"uses code that is not asyncrl's: if you trust that code, add --import {module}\n"
    )
    assert not Path("executed").exists()


@pytest.mark.parametrize("text", ["!!python/object/apply:os.mkdir [executed]", "!!python/name:os.mkdir"])
def test_yaml_makes_no_objects(run: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "experiment.yaml").write_text(f"environment: {text}\n")
    assert main(["eval", "run"]) == 2
    assert "cannot be read (ConstructorError)" in capsys.readouterr().err
    assert not Path("executed").exists()


VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers(), max_size=3)
)
KEYS = [
    *("environment", "algorithm", "algorithm__name", "algorithm__rollout_length", "algorithm__discount", "network"),
    *("network__hidden", "network__torso", "network__memory", "optimizer", "optimizer__learning_rate", "seed", "steps"),
    *("environment_options", "workers", "envs_per_worker", "reward_clip", "runtime", "preset", "no_such_setting"),
]


def outcome(folder: Path) -> str:
    """The refusal of a run's settings, or nothing."""
    try:
        RunFolder(folder).read_experiment()
    except UserError as error:
        return str(error)
    return ""


@given(data=st.data())
def test_whatever_the_bytes_settings_are_right_or_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "experiment.yaml"
        file.write_bytes(data.draw(damaged((FIXTURE / "experiment.yaml").read_bytes())))
        before = file.read_bytes()
        refusal = outcome(Path(name))
        assert not refusal or str(file) in refusal
        assert file.read_bytes() == before


@given(changes=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3))
def test_whatever_the_values_settings_are_right_or_refused(changes: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(FIXTURE / "experiment.yaml", name)
        for key, value in changes.items():
            try:
                change(Path(name), **{key: value})
            except TypeError:  # another change has replaced the group
                continue
        refusal = outcome(Path(name))
        assert not refusal or "experiment.yaml" in refusal


@settings(max_examples=25)
@given(data=st.data())
def test_whatever_a_run_holds_it_is_played_and_resumed_or_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        shutil.copytree(FIXTURE, run)
        files = sorted(path for path in run.rglob("*") if path.is_file())
        file = data.draw(st.sampled_from(files))
        file.write_bytes(data.draw(damaged(file.read_bytes())))
        before = {path: path.read_bytes() for path in files}
        assert main(["eval", str(run), "--episodes", "1"]) in (0, 2)
        if main(["train", "--resume", "--run-dir", str(run), "--runtime", "serial", "--steps", "201k"]) == 2:
            assert {path: path.read_bytes() for path in files} == before
