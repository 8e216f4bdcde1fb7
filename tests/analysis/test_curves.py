"""Pictures of runs: which runs are put together, what the labels say, how far curves go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from asyncrl.analysis import picture
from asyncrl.analysis.curves import plot_groups, plot_runs, plot_scores
from asyncrl.analysis.grouping import group_by_differences, group_runs
from asyncrl.cli import main
from asyncrl.run_folder import RunFolder
from tests.experiments import small


def written(
    folder: Path, environment: str = "Catch-v0", returns: Sequence[float | None] = (0.0, 1.0), **settings: Any
) -> RunFolder:
    """A run whose mean return is one of these after each thousand steps; `ended_by` None leaves it unfinished."""
    ended_by = settings.pop("ended_by", "steps")
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.write_experiment(small(environment, settings.pop("algorithm", None), **settings))
    lines = [
        {
            "steps": 1000 * n,
            "frames": 4000 * n,
            "wall_seconds": 1.0 * n,
            "updates": n,
            "episodes": n,
            "return_mean": value,
        }
        for n, value in enumerate(returns, 1)
    ]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if ended_by is not None:
        run.write_summary({"status": "done", "ended_by": ended_by})
    return run


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written."""
    figures: list[Figure] = []
    monkeypatch.setattr(picture, "write_picture", lambda figure, _: figures.append(figure))
    return figures


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def test_runs_that_differ_by_their_seed_alone_are_together_and_labels_say_what_differs(tmp_path: Path) -> None:
    runs = [written(tmp_path / f"a{seed}", seed=seed, until_return=seed) for seed in (1, 2)]
    assert list(group_by_differences(runs)) == [""]
    runs += [written(tmp_path / f"b{seed}", seed=seed, learning_rate=7e-4) for seed in (1, 2)]
    assert {name: len(group) for name, group in group_by_differences(runs).items()} == {"lr 0.004": 2, "lr 0.0007": 2}
    runs.append(written(tmp_path / "c", algorithm="nstep-q"))
    assert list(group_by_differences(runs)) == ["a3c, lr 0.004", "a3c, lr 0.0007", "nstep-q, lr 0.002"]
    other = written(tmp_path / "d", environment="CartPole-v1", reward_scale=0.5)  # another panel: nothing to tell apart
    assert list(group_by_differences([*runs[:2], other])) == [""]
    assert list(group_by_differences(runs[:4], apart="learning_rate")) == [""]
    assert list(group_runs(runs[:5], ["memory", "workers"])) == ["no memory, workers 1"]
    steps = [written(tmp_path / f"steps-{count}", steps=count) for count in (800, 90, 400)]
    assert list(group_runs(steps, ["steps"])) == ["steps 90", "steps 400", "steps 800"]


def test_a_drawn_learning_rate_is_no_difference(tmp_path: Path) -> None:
    runs = [written(tmp_path / str(seed), seed=seed, learning_rate_range=(1e-4, 1e-2)) for seed in (1, 2)]
    assert len({run.read_experiment().optimizer.learning_rate for run in runs}) == 2
    assert list(group_by_differences(runs)) == [""]


def test_a_setting_that_older_runs_lack_has_its_default(tmp_path: Path) -> None:
    new, old = written(tmp_path / "new"), written(tmp_path / "old")
    text = old.experiment_file.read_text()
    old.experiment_file.write_text("\n".join(line for line in text.splitlines() if "activation" not in line))
    assert list(group_by_differences([new, old])) == [""]


def test_a_mean_goes_on_where_a_goal_was_reached_and_is_dashed_where_a_run_is_missing(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    long = written(tmp_path / "long", returns=[0, 0, 0, 0])
    plot_groups({"g": [long, written(tmp_path / "goal", returns=[0, 1], ended_by="goal")]}, tmp_path / "a.png")
    plot_groups({"g": [long, written(tmp_path / "cut", returns=[0, 1], ended_by=None)]}, tmp_path / "b.png")
    (solid,) = (line for line in drawn[0].axes[0].lines if len(np.asarray(line.get_xdata())))
    assert np.asarray(solid.get_xdata())[-1] == 4000
    assert np.asarray(solid.get_ydata())[-1] == 0.5  # the run that was done counts on with its 1
    assert legend(drawn[0]) == ["g (2 runs)"]
    together, alone = (line for line in drawn[1].axes[0].lines if len(np.asarray(line.get_xdata())))
    assert (np.asarray(together.get_xdata())[-1], np.asarray(alone.get_xdata())[-1]) == (2000, 4000)
    assert (together.get_linestyle(), alone.get_linestyle()) == ("-", "--")
    assert np.asarray(alone.get_ydata()).max() == 0
    assert legend(drawn[1]) == ["g (2 runs, 1 not finished)"]
    assert "some runs ended before" in drawn[1].legends[0].get_title().get_text()


def test_each_environment_has_a_panel_and_a_group_its_colour(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [
        written(tmp_path / f"{name}{algorithm}", name, algorithm=algorithm)
        for name in ("Catch-v0", "CartPole-v1", "Acrobot-v1")
        for algorithm in ("a3c", "sarsa")
    ]
    plot_groups(group_runs(runs, ["algorithm"]), tmp_path / "a.png", "wall_seconds")
    titles = [axes.get_title() for axes in drawn[0].axes if axes.get_visible()]
    assert titles == ["Acrobot-v1", "CartPole-v1", "Catch-v0"]
    colours = [[line.get_color() for line in axes.lines if line.get_label()[0] != "_"] for axes in drawn[0].axes[:3]]
    assert colours[0] == colours[1] == colours[2]
    assert legend(drawn[0]) == ["a3c (1 run)", "sarsa (1 run)"]
    assert drawn[0].axes[0].get_xlabel() == "wall-clock time (seconds)"


def test_runs_without_episodes_and_damaged_ones(tmp_path: Path, drawn: list[Figure], capsys: Any) -> None:
    silent = written(tmp_path / "silent", returns=[None, None], ended_by=None)
    plot_runs([silent], tmp_path / "a.png")
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["no episode has ended yet"]
    plot_runs([silent, written(tmp_path / "other")], tmp_path / "b.png")
    assert legend(drawn[1]) == ["silent (without episodes, not finished)", "other"]
    silent.metrics_file.write_text("[]\n")
    for options in ([], ["--each"], ["--x", "learning_rate"], ["--sorted"]):
        assert (
            main(["plot", str(silent.path), str(tmp_path / "other"), *options, "--output", str(tmp_path / "c.png")])
            == 2
        )
        error = capsys.readouterr().err
        assert "line 1 is not a line of metrics" in error
        assert error.count("\n") == 1
    assert main(["plot", str(silent.path), "--each", "--by", "algorithm"]) == 2
    assert "--each draws every run by itself" in capsys.readouterr().err


def test_scores_have_a_logarithmic_axis_where_values_spread(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [written(tmp_path / str(rate), learning_rate=rate) for rate in (1e-4, 1e-3, 1e-1)]
    plot_scores({"all": runs}, tmp_path / "a.png", "learning_rate")
    assert drawn[0].axes[0].get_xscale() == "log"
    drawn[0].canvas.draw()
    labels = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert {"0.0001", "0.001", "0.01", "0.1"} <= set(labels)
    assert not [label for label in labels if "$" in label]
    assert drawn[0].axes[0].get_ylabel() == "last mean return while training"


def test_a_long_legend_says_how_much_it_leaves_out(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [written(tmp_path / f"run-{number}") for number in range(20)]
    plot_runs(runs, tmp_path / "a.png")
    assert len(legend(drawn[0])) == picture.MOST_LABELS
    assert legend(drawn[0])[-1] == "and 5 more"


def test_names_of_runs_may_contain_dollar_signs(tmp_path: Path) -> None:
    plot_runs([written(tmp_path / r"a$\no$"), written(tmp_path / "b")], tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_every_format(tmp_path: Path, ending: str) -> None:
    plot_groups({"g": [written(tmp_path / "run")]}, tmp_path / f"a.{ending}")
    assert (tmp_path / f"a.{ending}").stat().st_size > 3_000
