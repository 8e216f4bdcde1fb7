"""Every command on a run in which no episode ended, because its environment never ends one."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.analysis import video
from asyncrl.cli import main
from asyncrl.runtime import evaluation

pytestmark = pytest.mark.timeout(300)
TRAIN = ("train", "test/Endless-v0", "--runtime", "serial", "--workers", "1", "--envs-per-worker", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("endless") / "run")
    assert main([*TRAIN, "--steps", "4k", "--run-dir", path]) == 0
    return path


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "LONGEST_EPISODE", 50)
    monkeypatch.setattr(video, "MOST_STEPS", 20)


def test_the_doctor_says_so(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", run])
    printed = capsys.readouterr().out
    assert "no episode has ended in 4,0" in printed
    assert "try 1: a time limit" in printed


def test_the_advice_helps(tmp_path: Path) -> None:
    limit = ("--env-option", "max_episode_steps=10", "--steps", "400")
    assert main([*TRAIN, *limit, "--run-dir", str(tmp_path / "run")]) == 0
    assert '"length_mean": 10.0' in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_evaluations_end(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", run, "--episodes", "3"]) == 0
    assert "3 of 3 episodes had not ended" in capsys.readouterr().err


def test_a_training_with_evaluations_ends(tmp_path: Path) -> None:
    evaluated = ("--steps", "400", "--eval-every", "200", "--eval-episodes", "2")
    assert main([*TRAIN, *evaluated, "--run-dir", str(tmp_path / "run")]) == 0
    assert '"unfinished": 2' in (tmp_path / "run" / "evaluations.jsonl").read_text()


def test_a_video_ends(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", run, "--video", str(tmp_path / "short.gif")]) == 0
    printed = capsys.readouterr()
    assert "stops after 20 steps: --max-steps allows more" in printed.err
    assert "no episode ended" in printed.out


def test_pictures_and_pages(run: str, tmp_path: Path) -> None:
    assert main(["plot", run, "--output", str(tmp_path / "plot.png")]) == 0
    assert main(["export", run, "--output", str(tmp_path / "agent.onnx")]) == 0
    assert main(["inspect", run, "--output", str(tmp_path / "page"), "--states", "100"]) == 0
    assert "no episode has ended" in (tmp_path / "page" / "report.html").read_text()
