"""Callbacks: when they are called, with which numbers, how they end a run, and what their mistakes cost."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asyncrl
from asyncrl.callbacks import Callback, Ended
from asyncrl.errors import RunError, UserError
from asyncrl.reporting.json_lines import JsonLines
from asyncrl.runtime.checkpoint import load_newest
from asyncrl.signals import EndAtOnce
from tests.runtime.processes import REPOSITORY, log, metrics, summary

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncrl.analysis.curves.plot_runs", lambda *_: None)  # it takes its time


class Everything(Callback):
    """Keeps all it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def of(self, name: str) -> list[Any]:
        return [view for told, view in self.told if told == name]


def _note(name: str) -> Any:
    return lambda self, view: self.told.append((name, view))


METHODS = [name for name in vars(Callback) if name.startswith("on_")]
for method in METHODS:
    setattr(Everything, method, _note(method))


def train(*callbacks: Callback, run_dir: str = "run", **settings: Any) -> asyncrl.Result:
    defaults = {"runtime": "serial", "until_return": None, "steps": 6000, "envs_per_worker": 8, "workers": 2}
    return asyncrl.train("Catch", run_dir=run_dir, callbacks=callbacks, **{**defaults, **settings})


@pytest.mark.parametrize("runtime", ["serial", "processes"])
def test_each_is_called_with_the_right_numbers(in_tmp: Path, runtime: str) -> None:
    everything = Everything()
    result = train(everything, runtime=runtime, steps=6000, eval_every=3000, eval_episodes=5)
    names = [name for name, _ in everything.told]
    assert set(names) == set(METHODS)
    assert (names[0], names[-1]) == ("on_start", "on_end")

    [start] = everything.of("on_start")
    assert (start.session, start.steps, start.experiment.steps) == (1, 0, 6000)
    lines = metrics(in_tmp / "run")
    assert [dict(view.line) for view in everything.of("on_metrics")] == lines
    last = everything.of("on_metrics")[-1]
    assert (last.steps, last.updates, last.episodes, last.return_mean) == tuple(
        lines[-1][name] for name in ("steps", "updates", "episodes", "return_mean")
    )
    updates = everything.of("on_updates")
    assert sum(view.count for view in updates) == result.summary["updates"]
    assert {view.worker for view in updates} == {0, 1}
    assert all(0 < view.statistics["entropy"] < 1.1 for view in updates)  # ln 3 at most
    episodes = everything.of("on_episode")
    assert [view.number for view in episodes] == list(range(1, result.summary["episodes"] + 1))
    assert all(view.length == 9 and abs(view.total_reward) == 1 for view in episodes)
    returns = [view.total_reward for view in episodes[-100:]]
    assert sum(returns) / 100 == pytest.approx(result.summary["return_mean"])
    found = [json.loads(line) for line in Path("run/evaluations.jsonl").read_text().splitlines()]
    assert [
        {"steps": v.steps, "for_goal": v.for_goal, **v.evaluation.to_dict()} for v in everything.of("on_evaluation")
    ] == found
    assert everything.of("on_checkpoint")[-1].steps == load_newest(Path("run/checkpoints"))[0].state.steps
    [end] = everything.of("on_end")
    assert (end.status, end.ended_by, dict(end.summary)) == ("done", "steps", summary(in_tmp / "run"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        end.status = "other"


def test_a_resumed_run_tells_what_was_before(in_tmp: Path) -> None:
    first = train()
    everything = Everything()
    asyncrl.train("Catch", run_dir="run", resume=True, steps=8000, callbacks=[everything])
    [start] = everything.of("on_start")
    assert (start.session, start.steps) == (2, first.summary["steps"])
    assert everything.of("on_episode")[0].number == first.summary["episodes"] + 1


class Stop(Callback):
    """Ends the run at its hundredth episode."""

    def on_episode(self, episode: Any) -> bool:
        return bool(episode.number == 100)


def test_a_callback_ends_a_run_in_order_and_it_can_be_resumed(in_tmp: Path) -> None:
    everything = Everything()
    result = train(Stop(), everything)
    assert (result.exit_code, result.summary["status"], result.summary["ended_by"]) == (0, "done", "callback")
    assert result.summary["steps"] < 6000
    assert load_newest(Path("run/checkpoints"))[0].state.steps == result.summary["steps"]
    assert everything.of("on_end")[0].ended_by == "callback"
    resumed = asyncrl.train("Catch", run_dir="run", resume=True)
    assert resumed.summary["ended_by"] == "steps"


class Mistaken(Callback):
    """Fails where it is told to."""

    def __init__(self, where: str) -> None:
        def fail(view: object) -> None:
            raise ZeroDivisionError("no such number")

        setattr(self, where, fail)


@pytest.mark.parametrize("where", METHODS)
def test_a_mistake_in_a_callback_costs_no_work(in_tmp: Path, where: str) -> None:
    everything = Everything()
    with pytest.raises(RunError) as raised:
        train(Mistaken(where), everything, eval_every=2000, eval_episodes=2, checkpoint_seconds=0.1)
    first, second = str(raised.value).splitlines()
    assert first.startswith(f"the callback Mistaken.{where} failed ({__file__}, line ")
    assert first.endswith("): ZeroDivisionError: no such number")
    saved = load_newest(Path("run/checkpoints"))[0].state.steps
    assert second == f"what was learned is saved in run, up to step {saved:,}"
    assert saved == summary(in_tmp / "run")["steps"]
    assert summary(in_tmp / "run")["status"] == "failed"
    if where in ("on_start", "on_updates", "on_episode", "on_evaluation"):  # others may come with the last step
        assert saved < 6000
    assert "ZeroDivisionError" in summary(in_tmp / "run")["error"]
    assert "ZeroDivisionError" in log(in_tmp / "run")
    assert len(everything.of("on_end")) == 1  # others are told all the same


class Exit(Callback):
    """Calls sys.exit, or gets a second signal."""

    def __init__(self, error: type[SystemExit]) -> None:
        self.error = error

    def on_episode(self, episode: Any) -> None:
        raise self.error(3)


def test_a_callback_that_exits_costs_no_work(in_tmp: Path) -> None:
    with pytest.raises(RunError, match=r"Exit\.on_episode failed .*: SystemExit: 3"):
        train(Exit(SystemExit))
    assert load_newest(Path("run/checkpoints"))[0].state.steps == summary(in_tmp / "run")["steps"] > 0
    with pytest.raises(EndAtOnce):
        train(Exit(EndAtOnce), run_dir="ended")
    assert not Path("ended/summary.json").exists()


class Answer(Callback):
    """Returns the same each time."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def on_episode(self, episode: Any) -> Any:
        return self.answer


@pytest.mark.parametrize(("answer", "ends"), [(np.bool_(True), True), (np.bool_(False), False), (1, False)])
def test_the_true_of_numpy_ends_a_run_too(in_tmp: Path, answer: Any, ends: bool) -> None:
    result = train(Answer(answer), steps=2000, envs_per_worker=4)
    assert result.summary["ended_by"] == ("callback" if ends else "steps")


class ReadsTheSummary(Callback):
    """Reads what the run has written, and may fail then."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.found = fails, dict[str, Any]()

    def on_end(self, end: Ended) -> None:
        self.found = summary(end.run_dir)
        assert self.found == end.summary
        assert not self.fails


@pytest.mark.parametrize("fails", [False, True])
def test_at_the_end_the_summary_is_there_and_all_are_told_the_same(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("asyncrl.runtime.listeners.SummarySink", JsonLines)
    monkeypatch.setattr(JsonLines, "write_summary", lambda _, summary: told.append(summary), raising=False)
    callback = ReadsTheSummary(fails)
    with pytest.raises(RunError) if fails else nullcontext():
        train(callback, steps=1000)
    assert callback.found["status"] == "done"
    assert summary(in_tmp / "run")["status"] == ("failed" if fails else "done")
    assert told == [summary(in_tmp / "run")]


def test_what_is_no_callback_is_refused(in_tmp: Path) -> None:
    with pytest.raises(UserError, match=r"inherit asyncrl\.Callback, not <class"):
        train(Everything)  # type: ignore[arg-type]
    assert not Path("run").exists()


def test_the_example_runs(in_tmp: Path) -> None:
    file = REPOSITORY / "examples" / "own_callback.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(file)], env=environment, capture_output=True, text=True, timeout=250, check=True
    )
    assert "greedy, at step" in done.stdout
    assert "done, ended by" in done.stdout
