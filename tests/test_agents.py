"""The trained agents in the folder `agents`: each scores what it is said to score, and is as small as it should be."""

from __future__ import annotations

import importlib
import json
import math
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest
from safetensors import safe_open

from asyncrl.agent import load
from asyncrl.cli import main
from asyncrl.cli.train import experiment_from
from asyncrl.run_folder import RunFolder
from tests.pages import REPOSITORY

AGENTS = REPOSITORY / "agents"
NAMES = sorted(path.parent.name for path in AGENTS.glob("*/agent.json"))
LARGEST = 3_000_000
"""Bytes of an agent's folder."""
STEPS = 4_000
"""Steps of the whole episodes that a test plays, roughly."""
LONGEST = 10
ERRORS = 4.0
"""Standard errors by which the score of a test may differ from the one that is stated."""
RUN = ("--runtime", "serial", "--workers", "1", "--envs-per-worker", "4", "--steps", "200", "--until-return", "None")


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that adds agents."""
    monkeypatch.syspath_prepend(str(AGENTS))
    return importlib.import_module("add")


@pytest.mark.parametrize("name", NAMES)
def test_it_scores_what_it_is_said_to_score(name: str) -> None:
    for package in json.loads((AGENTS / name / "agent.json").read_text("utf-8"))["versions"]:
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed, which {name} plays in")
    said = RunFolder(AGENTS / name).read_evaluation() or {}
    episodes = min(LONGEST, max(2, round(STEPS / said["length_mean"])))
    mean = load(AGENTS / name).evaluate(episodes, said["deterministic"], seed=5).return_mean
    error = said["return_std"] * math.sqrt(1 / episodes + 1 / said["episodes"])
    assert mean == pytest.approx(said["return_mean"], abs=max(ERRORS * error, 1e-6))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_holds_no_more_than_an_agent(name: str) -> None:
    files = [path for path in (AGENTS / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    (weights,) = (path for path in files if path.suffix == ".safetensors")
    with safe_open(weights, "np") as tensors:
        assert {key.partition("/")[0] for key in tensors.keys()} <= {"parameters", "return_moments"}  # noqa: SIM118


@pytest.mark.parametrize("name", NAMES)
def test_its_command_is_understood(name: str) -> None:
    command = json.loads((AGENTS / name / "agent.json").read_text("utf-8"))["command"]
    experiment = experiment_from(command.removeprefix("asyncrl train ").split())
    assert experiment.environment == RunFolder(AGENTS / name).read_experiment().environment


def test_the_page_has_the_table_of_these_agents(add: ModuleType) -> None:
    assert add.table(AGENTS) in (AGENTS / "README.md").read_text("utf-8")


def test_the_best_of_several_runs_is_added_with_the_command_that_makes_it(add: ModuleType, in_tmp: Path) -> None:
    settings = ("--env-option", "rows=4", "--hidden", "8", "--seed", "3", "--algorithm", "pqn")
    assert main(["train", "Catch", *RUN, *settings, "--quiet", "--run-dir", "first"]) == 0
    shutil.copytree("first", "second")
    add.add(Path("small"), [Path("first"), Path("second")], episodes=4)
    made = json.loads(Path("small/agent.json").read_text("utf-8"))
    experiment = experiment_from(made["command"].removeprefix("asyncrl train ").split())
    assert experiment == RunFolder(Path("first")).read_experiment() == RunFolder(Path("small")).read_experiment()
    assert made["chosen_from"] == "2 runs"
    assert set(made["versions"]) == {"gymnasium"}
    Path("README.md").write_text(f"# Agents\n\n{add.BEGIN}\nold\n{add.END}\n\nlast")
    add.write_table(in_tmp)
    text = Path("README.md").read_text("utf-8")
    assert text.count("| `small` | Catch-v0 | pqn |") == 1
    assert "old" not in text
    assert text.endswith("\n\nlast")
