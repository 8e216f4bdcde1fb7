"""What is said about a run's time, from its summary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncrl.analysis.advice import advise
from asyncrl.run_folder import RunFolder


def remarks(folder: Path, **shares: float) -> dict[str, str]:
    run = RunFolder(folder)
    run.summary_file.write_text(json.dumps({f"share_{name}": share for name, share in shares.items()}))
    return {check.name: f"{check.verdict} {check.text}" for check in advise(run)}


def test_waiting_for_the_environment_is_fine(tmp_path: Path) -> None:
    found = remarks(tmp_path, environment=0.7, act=0.0, learn=0.1, update=0.2, other=0.0)
    assert list(found) == ["workers' time"]
    assert "70% in the environment: fine" in found["workers' time"]


@pytest.mark.parametrize(
    ("phase", "hint"),
    [
        ("act", "--envs-per-worker"),
        ("learn", "network"),
        ("update", "--rollout-length"),
        ("other", "--envs-per-worker"),
    ],
)
def test_a_large_phase_gets_a_hint(tmp_path: Path, phase: str, hint: str) -> None:
    shares = {"environment": 0.5, "act": 0.0, "learn": 0.0, "update": 0.0, "other": 0.0, phase: 0.5}
    found = remarks(tmp_path, **shares)
    assert set(found) == {"workers' time", phase}
    assert "50%" in found[phase]
    assert hint in found[phase]


def test_of_a_run_without_measurements_nothing_is_said(tmp_path: Path) -> None:
    assert "nothing is known" in remarks(tmp_path)["workers' time"]
