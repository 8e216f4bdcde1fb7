"""The script that compares agents on Atari games: it goes on where it was stopped, and its table says what it found."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import scipy.stats

from asyncrl.errors import UserError
from tests.pages import REPOSITORY

GIVEN = ("Pong", "Qbert", "--minutes", "10", "30", "--seeds", "1", "2", "--methods", "asyncrl", "asyncrl A3C")


@pytest.fixture
def atari(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with trainings that take no time: each has its number as its score."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    module = importlib.import_module("atari")
    monkeypatch.setattr(module, "ours", Trainings())
    return module


class Trainings:
    def __init__(self) -> None:
        self.made: list[str] = []
        self.stop_at: int | None = None

    def __call__(self, run: Any, episodes: int, folder: Path) -> tuple[dict[str, Any], list[list[float]]]:
        if len(self.made) == self.stop_at:
            raise KeyboardInterrupt
        self.made.append(str(run))
        names = ("return_std", "steps", "seconds", "cores", "setting", "version")
        row = dict.fromkeys(names, 1) | {"return_mean": float(len(self.made)), "episodes": episodes}
        return row, [[60.0, 100, -20.0], [60.0 * run.minutes, 1000, 5.0]]


def test_methods_take_turns_and_a_run_is_made_once(
    atari: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings = atari.ours
    trainings.stop_at = 5
    with pytest.raises(KeyboardInterrupt):
        atari.main([*GIVEN, "--out", str(tmp_path)])
    assert trainings.made[:3] == [
        "asyncrl on Pong, 10 minutes, seed 1",
        "asyncrl A3C on Pong, 10 minutes, seed 1",
        "asyncrl on Qbert, 10 minutes, seed 1",
    ]
    curves = (tmp_path / "atari_curves.csv").read_text("utf-8")
    with (tmp_path / "atari_curves.csv").open("a", encoding="utf-8") as file:
        file.write("Pong,asyncrl,30,2,1,2,3\n")  # the program was killed before it wrote the row
    trainings.stop_at = None
    atari.main([*GIVEN, "--out", str(tmp_path)])
    assert len(trainings.made) == len(set(trainings.made)) == 16
    lines = (tmp_path / "atari_curves.csv").read_text("utf-8").splitlines()
    assert lines[: curves.count("\n")] == curves.splitlines()
    assert len(lines) == 1 + 2 * 16
    assert (tmp_path / "atari.png").read_bytes().startswith(b"\x89PNG")
    atari.main(["--draw", "--out", str(tmp_path)])
    first, second = capsys.readouterr().out.split("10 minutes")[1:]
    assert first == second
    assert len(trainings.made) == 16


def test_the_table_has_means_with_intervals_and_the_best_is_bold(atari: ModuleType, tmp_path: Path) -> None:
    atari.main(["Pong", "--minutes", "10", "--seeds", "1", "2", "3", *GIVEN[-3:], "--out", str(tmp_path)])
    results = atari.Results(tmp_path)
    assert results.scores("Pong", "asyncrl", 10.0) == [1.0, 3.0, 5.0]
    mean, error = 3.0, 2 / 3**0.5
    low, high = scipy.stats.t.interval(0.95, 2, loc=mean, scale=error)
    assert atari.table(results).splitlines() == [
        "10 minutes",
        "",
        "| game | asyncrl | asyncrl A3C |",
        "|---|---|---|",
        f"| Pong | 3 ± {(high - low) / 2:.2g} | **4** ± {(high - low) / 2:.2g} |",
    ]


def test_nothing_to_draw_and_damaged_results_are_said(atari: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results in"):
        atari.main(["--draw", "--out", str(tmp_path)])
    (tmp_path / "atari.csv").write_text("game,method\nPong,asyncrl\n")
    with pytest.raises(UserError, match="holds a line that is no result"):
        atari.main(["--draw", "--out", str(tmp_path)])
