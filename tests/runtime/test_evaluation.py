"""Evaluation of frozen copies while training goes on, and the best checkpoint."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.agent import load, untrained
from asyncrl.api import train
from asyncrl.callbacks import Callback, Updated
from asyncrl.cli import main
from asyncrl.envs.make import describe
from asyncrl.reporting.ending import return_of
from asyncrl.run_folder import RunFolder
from asyncrl.runtime import evaluation, evaluator
from asyncrl.runtime.checkpoint import load_chosen, load_newest
from asyncrl.runtime.evaluator import EvaluatorProcess, EvaluatorSetup, Request, VideoResult, run_evaluator
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.fork_server import process_context
from asyncrl.runtime.shared_model import ParameterSnapshot, SharedModel
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.training import record_video
from asyncrl.types import Evaluation
from tests.experiments import small
from tests.runtime.processes import Start, log, metrics, session_processes, summary, wait_for, workers
from tests.runtime.test_serial import run

pytestmark = pytest.mark.timeout(300)


def evaluations(folder: Path) -> list[dict[str, Any]]:
    file = folder / "evaluations.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_serial_run_is_evaluated_at_every_multiple_and_keeps_the_best(tmp_path: Path) -> None:
    _, supervisor, recorder = run(tmp_path / "run", steps=3000, eval_every=1000, eval_episodes=30)
    found = evaluations(tmp_path / "run")
    assert [line["steps"] // 1000 for line in found] == [1, 2, 3]
    assert all(line["episodes"] == 30 for line in found)
    best = max(found, key=lambda line: line["return_mean"])
    checkpoint, _ = load_chosen(tmp_path / "run" / "checkpoints", "best")
    assert checkpoint.state.score == best["return_mean"]
    assert checkpoint.state.score_is_evaluated
    assert checkpoint.state.steps == best["steps"]
    told = [line["evaluation_return_mean"] for line in recorder.lines if "evaluation_return_mean" in line]
    assert set(told) <= {line["return_mean"] for line in found}
    supervisor.folder.write_experiment(supervisor.experiment)
    # the agent that was evaluated is the one that was saved
    again = load(tmp_path / "run", checkpoint="best").evaluate(30, seed=supervisor.experiment.seed)
    assert again.return_mean == best["return_mean"]


def test_evaluation_does_not_change_what_a_serial_run_learns(tmp_path: Path) -> None:
    _, plain, _ = run(tmp_path / "plain", steps=2000)
    _, evaluated, _ = run(tmp_path / "evaluated", steps=2000, eval_every=500)
    assert torch.equal(plain.shared.parameters.tensor, evaluated.shared.parameters.tensor)


def test_normalised_observations_are_frozen_too(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"environment": "CartPole-v1", "normalize_observations": True, "steps": 2000}
    _, supervisor, _ = run(tmp_path / "run", eval_every=1000, eval_episodes=20, **settings)
    supervisor.folder.write_experiment(supervisor.experiment)
    checkpoint, _ = load_chosen(tmp_path / "run" / "checkpoints", "best")
    again = load(tmp_path / "run", checkpoint="best").evaluate(20, seed=supervisor.experiment.seed)
    assert again.return_mean == checkpoint.state.score


def test_without_evaluation_the_best_is_of_training_episodes(tmp_path: Path) -> None:
    outcome, _, _ = run(tmp_path / "run", steps=6000)
    checkpoint, _ = load_chosen(tmp_path / "run" / "checkpoints", "best")
    assert checkpoint.state.score == pytest.approx(outcome.summary["return_mean"])
    assert not checkpoint.state.score_is_evaluated
    assert set(checkpoint.tensors) == {name for name in checkpoint.tensors if name.startswith("parameters/")}


def test_the_evaluator_has_a_process_of_its_own_and_may_die(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(
        *("train", "Catch", "--steps", "1G", "--until-return", "None", "--workers", "2", "--run-dir", "run"),
        *("--eval-every", "50k", "--eval-episodes", "2000"),
    )
    wait_for(lambda: len(evaluations(folder)) >= 1, 60, "an evaluation")
    assert len(workers(process.pid)) == 3  # two workers and the evaluator
    known = set(session_processes(process.pid))
    evaluator = max(workers(process.pid))  # started last
    os.kill(evaluator, signal.SIGKILL)
    wait_for(lambda: "was killed by SIGKILL" in log(folder), 60, "noticing")
    count = len(evaluations(folder))
    wait_for(lambda: len(evaluations(folder)) > count, 60, "the next evaluation")
    assert set(session_processes(process.pid)) - known  # another evaluator
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")
    assert "warning: no evaluation at step" in log(folder)
    assert summary(folder)["restarts"] == 0
    assert [line["evaluation_steps"] for line in metrics(folder) if "evaluation_steps" in line]
    best, newest = load_chosen(folder / "checkpoints", "best")[0], load_newest(folder / "checkpoints")[0]
    assert best.state.score == max(line["return_mean"] for line in evaluations(folder))
    assert best.state.steps <= newest.state.steps


def test_the_last_evaluation_is_made(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"workers": 2, "steps": 30_000, "until_return": None}
    train("Catch", run_dir=tmp_path / "run", eval_every=30_000, eval_episodes=500, **settings)
    [found] = evaluations(tmp_path / "run")
    assert found["steps"] >= 30_000
    assert metrics(tmp_path / "run")[-1]["evaluation_return_mean"] == found["return_mean"]
    assert load_chosen(tmp_path / "run" / "checkpoints", "best")[0].state.score == found["return_mean"]


@pytest.mark.parametrize(
    ("ended_by", "settings"),
    [("steps", {"steps": 2000}), ("time", {"steps": 10**9, "until_seconds": 0.5})],
)
def test_the_final_agent_is_evaluated(tmp_path: Path, ended_by: str, settings: dict[str, Any]) -> None:
    outcome, supervisor, _ = run(tmp_path / "run", final_episodes=30, **settings)
    assert outcome.summary["ended_by"] == ended_by
    [found] = evaluations(tmp_path / "run")
    assert found["steps"] == outcome.summary["evaluation_steps"] == outcome.summary["steps"]
    supervisor.folder.write_experiment(supervisor.experiment)
    again = load(tmp_path / "run", checkpoint="last").evaluate(30, seed=supervisor.experiment.seed)
    assert again.return_mean == found["return_mean"] == outcome.summary["evaluation_return_mean"]
    assert return_of(outcome.summary) == f"mean return of 30 evaluation episodes: {again.return_mean:.2f}"
    best = supervisor.folder.checkpoints / "best"  # half a second may be too short for 100 training episodes
    assert not best.exists() or not load_chosen(best.parent, "best")[0].state.score_is_evaluated


def test_a_goal_that_is_reached_needs_no_final_evaluation(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 10**9, "until_return": -2.0, "goal_episodes": 5}
    outcome, _, _ = run(tmp_path / "run", final_episodes=7, **settings)
    assert [line["episodes"] for line in evaluations(tmp_path / "run")] == [5]
    assert outcome.summary["evaluation_episodes"] == 5


def test_a_signal_does_not_wait_for_the_final_evaluation(start: Start, tmp_path: Path) -> None:
    process = start(
        *("train", "Catch", "--steps", "20k", "--until-return", "None", "--workers", "1", "--run-dir", "run"),
        *("--final-episodes", "10M"),
    )
    wait_for(lambda: "evaluating the agent" in log(tmp_path / "run"), 60, "the final evaluation")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    wait_for(lambda: not session_processes(process.pid), 60, "the end of all processes")
    assert summary(tmp_path / "run")["status"] == "stopped"
    assert evaluations(tmp_path / "run") == []


def test_an_evaluation_that_fails_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise ZeroDivisionError("no evaluation today")

    monkeypatch.setattr("asyncrl.runtime.evaluator.run_request", fail)
    outcome, _, _ = run(tmp_path / "run", steps=2000, eval_every=1000)
    assert outcome.status == "done"
    assert evaluations(tmp_path / "run") == []


class SlowEvaluator:
    """Finds nothing, and takes some seconds for it."""

    starts = 0
    seconds = 0.0

    def __init__(self, setup: EvaluatorSetup) -> None:
        self.setup, self.busy = setup, False

    def start(self, request: Request) -> None:
        type(self).starts += 1
        self.busy, self.due = True, time.monotonic() + self.seconds

    def poll(self) -> Failure | None:
        if not self.busy or time.monotonic() < self.due:
            return None
        self.busy = False
        return Failure(-1, "found nothing")

    def kill(self) -> None:
        pass


class Stop(Callback):
    """Ends a run at its first updates after an evaluation began."""

    def on_updates(self, updates: Updated) -> bool:
        return SlowEvaluator.starts > 0


@pytest.mark.parametrize(
    ("ended_by", "settings", "callbacks"),
    [
        ("callback", {"steps": 10**9}, [Stop()]),
        ("time", {"steps": 10**9, "until_seconds": 0.5}, []),
        ("steps", {"steps": 400}, []),
    ],
)
def test_only_the_end_of_its_steps_waits_for_an_evaluation(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ended_by: str,
    settings: dict[str, Any],
    callbacks: list[Callback],
) -> None:
    monkeypatch.setattr("asyncrl.runtime.evaluator.InlineEvaluator", SlowEvaluator)
    monkeypatch.setattr(SlowEvaluator, "starts", 0)
    monkeypatch.setattr(SlowEvaluator, "seconds", 1.0 if ended_by == "steps" else 60.0)
    experiment, told = small(eval_every=100, **settings), list[str]()
    (tmp_path / "run").mkdir()
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path / "run"), notify=told.append)
    assert supervisor.run([], callbacks).summary["ended_by"] == ended_by
    waited = [text for text in told if "found nothing" in text]
    assert bool(waited) == (ended_by == "steps")
    assert (SlowEvaluator.starts > 1) == (ended_by == "steps")


class Aborted(BaseException):
    """In the place of the end of a process."""


class Pipe:
    """Asks for one evaluation, and keeps what comes."""

    def __init__(self) -> None:
        self.asked, self.sent = [Request(2, video=True)], list[Any]()

    def recv(self) -> Request:
        if not self.asked:
            raise EOFError
        return self.asked.pop()

    def send(self, found: Any) -> None:
        self.sent.append(found)


def test_an_evaluation_is_told_before_its_film_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def abort(*_: Any) -> None:
        raise Aborted

    for name in ("evaluator.end_with_parent", "evaluator.ignore_stop_signals"):
        monkeypatch.setattr(f"asyncrl.runtime.{name}", lambda *_: None)
    monkeypatch.setattr("asyncrl.analysis.video.episode_gif", abort)
    pipe = Pipe()
    with pytest.raises(Aborted):
        run_evaluator(evaluator_setup(), pipe)  # type: ignore[arg-type]
    assert [type(found) for found in pipe.sent] == [Evaluation]


def evaluator_setup() -> EvaluatorSetup:
    experiment, context = small(), process_context()
    info = describe(experiment)
    snapshot = ParameterSnapshot.allocate(SharedModel(experiment, info, context), context)
    return EvaluatorSetup(experiment, info, snapshot, record_video)


class Child:
    """A process that evaluates, and dies when it draws."""

    def __init__(self, *_: Any) -> None:
        self.pipe, self.evaluations = self, [Evaluation(1, 1.0, 0.0, 1.0, 1.0, 9.0)]

    def send(self, _: Request) -> None: ...

    def poll(self) -> bool:
        return True

    def recv(self) -> Evaluation:
        if not self.evaluations:
            raise EOFError
        return self.evaluations.pop()

    def cause_of_death(self) -> str:
        return "was killed by SIGABRT"

    def end(self) -> None: ...


@pytest.mark.parametrize("video", [False, True])
def test_an_evaluator_that_dies_of_a_film_costs_the_film_alone(monkeypatch: pytest.MonkeyPatch, video: bool) -> None:
    monkeypatch.setattr(evaluator, "ChildProcess", Child)
    process = EvaluatorProcess(evaluator_setup(), process_context())
    for _ in range(2):
        process.start(Request(1, video))
        assert isinstance(process.poll(), Evaluation)
        assert process.busy == video  # the copy is still in use
        assert process.poll() == (VideoResult(None, "was killed by SIGABRT") if video else None)
        assert not process.busy
        process.kill()


def test_an_evaluator_that_cannot_be_started_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    process = EvaluatorProcess(evaluator_setup(), process_context())

    def fail(*_arguments: Any) -> None:
        raise OSError("out of processes")

    monkeypatch.setattr("asyncrl.runtime.evaluator.ChildProcess", fail)
    process.prepare()  # early, for a run with a goal
    process.start(Request(1))
    found = process.poll()
    assert isinstance(found, Failure)
    assert found.reason == "could not be started (out of processes)"
    assert not process.busy
    assert process.poll() is None
    process.kill()


def test_eval_and_watch_take_the_checkpoint_they_are_told(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--steps", "3k", "--runtime", "serial", "--until-return", "None", "--run-dir", "run"]
    assert main(["train", "Catch", *arguments, "--keep-every", "1k"]) == 0
    [*_, newest] = sorted(path.name for path in Path("run/checkpoints").glob("step-*"))
    for which in ("last", "best", str(int(newest.removeprefix("step-")))):
        assert main(["eval", "run", "--episodes", "2", "--checkpoint", which]) == 0
        assert main(["watch", "run", "--video", "a.gif", "--max-steps", "3", "--checkpoint", which]) == 0
    capsys.readouterr()
    assert main(["eval", "run", "--checkpoint", "first"]) == 2
    assert "choose best, last, or one of the steps" in capsys.readouterr().err


def test_an_evaluation_ends_although_its_episodes_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "LONGEST_EPISODE", 100)
    monkeypatch.setattr(evaluation, "FEW", 4)
    endless = evaluation.evaluate(untrained(small("test/Endless-v0")), 10, deterministic=False, seed=0)
    assert (endless.episodes, endless.unfinished) == (4, 4)
    assert endless.length_mean >= 100
    assert endless.to_dict()["unfinished"] == 4
    some = evaluation.evaluate(untrained(small("test/Clock-v0")), 10, deterministic=False, seed=0)
    assert (some.episodes, some.unfinished) == (10, 0)
    assert "unfinished" not in some.to_dict()
