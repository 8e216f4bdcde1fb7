"""A goal is reached when an evaluation says so; training returns only ask for the evaluation."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import asyncrl
import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.cli.train import main as train_main
from asyncrl.config import Experiment
from asyncrl.envs.make import describe, make_environments
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import Checkpoint, load_chosen, load_newest
from asyncrl.runtime.goal import COST, GROWTH, Goal
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.types import Evaluation
from tests.experiments import small
from tests.runtime.processes import summary
from tests.runtime.test_resume import assert_equal, train
from tests.runtime.test_serial import run

pytestmark = pytest.mark.timeout(120)

TRAINED = 6.0  # return of an episode of three steps of Clock: 1 + 2 + 3


def evaluation(return_mean: float, length_mean: float = 10.0) -> Evaluation:
    return Evaluation(100, return_mean, 0.0, return_mean, return_mean, length_mean)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    return RunFolder(folder).read_evaluations()


@pytest.fixture
def evaluated_lengths(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes episodes of Clock longer or shorter in evaluation than in training, so that their returns differ.

    The first evaluation gets the first length, and so on; the last length stays.
    """

    def use(*lengths: int) -> None:
        following = itertools.chain(lengths, itertools.repeat(lengths[-1]))

        def make(experiment: Experiment, count: int, masked: bool) -> Any:
            options = {"length": next(following)}
            return make_environments(dataclasses.replace(experiment, environment_options=options), count)

        monkeypatch.setattr("asyncrl.runtime.evaluation.make_environments", make)

    return use


def test_training_returns_ask_for_an_evaluation() -> None:
    goal = Goal(5.0, explores=False)
    assert not goal.is_due(None, 1000)  # too few episodes
    assert not goal.is_due(4.9, 1000)
    assert goal.is_due(5.0, 1000)
    assert not Goal(None, explores=True).is_due(5.0, 1000)
    assert Goal(5.0, explores=True).is_due(-100.0, 1000)  # training returns of ε-greedy workers say too little


def test_an_evaluation_below_the_goal_lets_the_next_one_wait() -> None:
    goal = Goal(5.0, explores=False)
    goal.check(1_000_000, evaluation(4.9))
    assert not goal.reached
    assert goal.wait_until == 1_000_000 * (1 + GROWTH)
    goal.check(2_000, evaluation(4.9, length_mean=10.0))
    assert goal.wait_until == 2_000 + COST * 100 * 10
    assert not goal.is_due(6.0, goal.wait_until - 1)
    assert goal.is_due(6.0, goal.wait_until)
    goal.check(5_000, evaluation(5.0))
    assert goal.reached
    assert goal.reached_at == 5_000
    assert not goal.is_due(6.0, 10_000)


def test_a_lucky_window_does_not_end_the_run(tmp_path: Path, evaluated_lengths: Callable[..., None]) -> None:
    evaluated_lengths(2)  # a return of 3
    outcome, _, _ = run(tmp_path / "run", environment="test/Clock-v0", until_return=5.0, steps=4000)
    assert outcome.summary["return_mean"] == TRAINED
    assert outcome.summary["ended_by"] == "steps"
    found = evaluations(tmp_path / "run")
    assert all(line["for_goal"] and line["return_mean"] == 3 and line["episodes"] == 100 for line in found)
    starts = [line["steps"] for line in found]
    assert 300 <= starts[0] < 400  # at the hundredth episode
    assert all(400 <= later - earlier < 400 + 20 for earlier, later in itertools.pairwise(starts))  # COST · 100 · 2
    assert len(starts) > 5


def test_after_a_failed_evaluation_the_next_one_may_end_the_run(
    tmp_path: Path, evaluated_lengths: Callable[..., None]
) -> None:
    evaluated_lengths(2, 3)
    settings: dict[str, Any] = {"environment": "test/Clock-v0", "until_return": 5.0}
    outcome, supervisor, recorder = run(tmp_path / "run", steps=4000, goal_episodes=30, **settings)
    failed, passed = evaluations(tmp_path / "run")
    assert (failed["return_mean"], passed["return_mean"]) == (3, TRAINED)
    assert (outcome.summary["status"], outcome.summary["ended_by"]) == ("done", "goal")
    told = {name: outcome.summary[f"evaluation_{name}"] for name in ("return_mean", "steps", "episodes")}
    assert told == {"return_mean": TRAINED, "steps": passed["steps"], "episodes": 30}
    assert outcome.summary["steps"] == passed["steps"]  # not a turn more
    assert recorder.lines[-1]["evaluation_return_mean"] == TRAINED
    last, best = saved(tmp_path / "run")
    assert (last.state.score, last.state.score_is_evaluated) == (TRAINED, True)
    assert (best.state.score, best.state.steps) == (TRAINED, passed["steps"])

    def reason(until_return: float, checkpoint: Checkpoint = last) -> str:
        experiment = small(**{**settings, "until_return": until_return}, steps=4000)
        return Supervisor(experiment, supervisor.info, supervisor.folder, checkpoint).reason_to_end

    assert reason(5.0) == "its goal, a mean return of 5, is reached"
    assert reason(7.0) == ""
    by_luck = dataclasses.replace(last, state=dataclasses.replace(last.state, goal_reached=None))
    assert reason(5.0, by_luck) == ""  # of a version in which training returns decided


def saved(folder: Path) -> tuple[Checkpoint, Checkpoint]:
    """The last and the best checkpoint, which hold the same agent."""
    last, best = load_newest(folder / "checkpoints")[0], load_chosen(folder / "checkpoints", "best")[0]
    assert best.tensors
    for name, tensor in best.tensors.items():
        assert torch.equal(tensor, last.tensors[name]), name
    return last, best


@pytest.mark.parametrize("runtime", ["processes", "serial"])
def test_the_agent_that_passed_is_the_one_that_is_saved(
    in_tmp: Path, runtime: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("asyncrl.analysis.curves.plot_runs", lambda *_: None)  # it takes its time
    settings = ["--until-return", "15", "--steps", "1M", "--workers", "2", "--normalize-observations", "--hidden", "8"]
    assert train_main(["CartPole-v1", *settings, "--runtime", runtime, "--run-dir", "run"]) == 0
    found = summary(in_tmp / "run")
    assert found["ended_by"] == "goal"
    [*_, passed] = evaluations(in_tmp / "run")
    assert found["evaluation_return_mean"] == passed["return_mean"] >= 15
    last, best = saved(in_tmp / "run")
    assert last.state.steps == found["steps"] >= best.state.steps == passed["steps"]
    again = asyncrl.load("run").evaluate(100, seed=last.state.sessions)  # the seed is 1, too
    assert again.return_mean == passed["return_mean"]
    text = f"reached the goal of 15 after {found['steps']:,} steps"
    farewell = " ".join(capsys.readouterr().out.split())
    assert text in farewell
    assert f"mean return of 100 evaluation episodes: {passed['return_mean']:.2f}" in farewell
    assert train_main(["--resume", "--run-dir", "run"]) == 0
    assert "its goal, a mean return of 15, is reached: nothing is left to do" in capsys.readouterr().out
    assert (
        train_main(["--resume", "--run-dir", "run", "--steps", str(found["steps"] + 3000), "--until-return", "400"])
        == 0
    )
    assert summary(in_tmp / "run")["ended_by"] == "steps"


@pytest.mark.parametrize(
    ("settings", "is_reached"),
    [
        ({"environment": "test/Clock-v0", "until_return": 5.0}, True),
        ({"until_return": 0.99, "goal_episodes": 20, "algorithm": "nstep-q", "target_interval": 300}, False),
    ],
    ids=["reached at the fourth evaluation", "checked in vain, by an algorithm that explores"],
)
def test_a_resumed_run_checks_its_goal_like_the_uninterrupted_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evaluated_lengths: Callable[..., None],
    settings: dict[str, Any],
    is_reached: bool,
) -> None:
    monkeypatch.setattr("asyncrl.runtime.supervisor.METRICS_SECONDS", (0.0, 0.0))  # a line after each turn
    settings = {"workers": 2, "steps": 3000, **settings}
    if is_reached:
        evaluated_lengths(2, 2, 2, 3)
    whole = train(tmp_path / "whole", **settings)
    if is_reached:
        evaluated_lengths(2, 2, 2, 3)
    for part in (1, 2):
        train(tmp_path / "parts", stop_at=part * whole.state.steps // 3, **settings)
    parts = train(tmp_path / "parts", **settings)
    assert_equal(whole, parts)
    assert whole.state.goal_wait_until == parts.state.goal_wait_until > 0
    assert whole.state.goal_reached == parts.state.goal_reached
    assert (whole.state.goal_reached is not None) == is_reached
    found = evaluations(tmp_path / "whole")
    assert evaluations(tmp_path / "parts") == found
    assert len(found) >= 4


def test_a_periodic_evaluation_asks_too(tmp_path: Path, evaluated_lengths: Callable[..., None]) -> None:
    evaluated_lengths(5)  # a return of 15, which training never shows
    settings: dict[str, Any] = {"environment": "test/Clock-v0", "until_return": 10.0, "eval_every": 500}
    outcome, _, _ = run(tmp_path / "run", steps=4000, eval_episodes=4, **settings)
    assert outcome.summary["ended_by"] == "goal"
    found = [(line["steps"] // 500, line["for_goal"], line["episodes"]) for line in evaluations(tmp_path / "run")]
    assert found == [(1, False, 4), (1, True, 100)]


@pytest.mark.parametrize(
    ("lengths", "episodes"),
    [((5,), [10, 100]), ((5, 2, 5), [10, 100, 10, 100]), ((2, 2, 5), [10, 10, 10, 100])],
    ids=["reached at once", "a few lucky episodes", "reached at the third try"],
)
def test_where_training_returns_say_little_a_few_episodes_ask_for_all(
    tmp_path: Path, evaluated_lengths: Callable[..., None], lengths: tuple[int, ...], episodes: list[int]
) -> None:
    evaluated_lengths(*lengths)  # a return of 15, or of 3
    settings: dict[str, Any] = {"algorithm": "nstep-q", "final_epsilons": (0.5,), "target_interval": 300}
    outcome, _, _ = run(tmp_path / "run", environment="test/Clock-v0", until_return=10.0, steps=4000, **settings)
    assert outcome.summary["return_mean"] == TRAINED  # below the goal
    assert outcome.summary["ended_by"] == "goal"
    assert [(line["for_goal"], line["episodes"]) for line in evaluations(tmp_path / "run")] == [
        (True, number) for number in episodes
    ]


def test_a_periodic_evaluation_below_the_goal_asks_for_none(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"algorithm": "nstep-q", "final_epsilons": (0.5,), "target_interval": 300}
    settings |= {"until_return": 10.0, "eval_every": 60, "eval_episodes": 4}
    run(tmp_path / "run", environment="test/Clock-v0", steps=240, **settings)  # fewer than 100 episodes
    assert [line["for_goal"] for line in evaluations(tmp_path / "run")] == [False] * 4


def test_an_evaluator_that_fails_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("no evaluation today")

    monkeypatch.setattr("asyncrl.runtime.evaluator.run_request", fail)
    told: list[str] = []
    (tmp_path / "run").mkdir()
    experiment = small("test/Clock-v0", until_return=5.0, steps=2000)
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path / "run"), notify=told.append)
    assert supervisor.run([]).summary["ended_by"] == "steps"
    failures = [text for text in told if "no evaluation at step" in text]
    assert 3 < len(failures) < 30  # each a tenth later than the one before
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "done"
