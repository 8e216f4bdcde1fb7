"""What trackers and TensorBoard are told of a run, read back by their own means; and trackers that fail."""

from __future__ import annotations

import importlib.util
import io
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import asyncrl
from asyncrl.callbacks import Callback, MetricsWritten
from asyncrl.cli import main
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.installing import install_command
from asyncrl.reporting import background, closing
from asyncrl.reporting.background import BackgroundSink
from asyncrl.reporting.histogram import Histogram
from asyncrl.reporting.progress import PlainProgress
from asyncrl.reporting.trackers.mlflow import MLflow
from asyncrl.reporting.trackers.tracked_run import TrackedRun
from asyncrl.run_folder import RunFolder
from asyncrl.runtime import listeners
from asyncrl.runtime.disk_watch import DiskWatch
from asyncrl.runtime.listeners import Listeners
from asyncrl.runtime.supervisor import Supervisor
from tests.experiments import small
from tests.runtime.processes import wait_for
from tests.runtime.test_serial import run

pytestmark = pytest.mark.timeout(300)

HAS_TRACKIO = importlib.util.find_spec("trackio") is not None


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of two sessions, with everything that can be shown and every tracker that is installed."""
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        patch.setattr(background, "CLOSE_SECONDS", 200.0)
        patch.setattr("asyncrl.analysis.curves.plot_runs", lambda *_: None)  # it takes its time
        patch.setattr(listeners, "HISTOGRAM_SECONDS", 0.0)
        settings: dict[str, Any] = {
            "runtime": "serial",
            "until_return": None,
            "eval_every": 2000,
            "eval_episodes": 3,
            "eval_video": True,
            "histograms": True,
            "trackers": ("wandb", "mlflow", *(["trackio"] if HAS_TRACKIO else [])),
        }
        asyncrl.train("Catch", run_dir="run", steps=3000, **settings)
        asyncrl.train("Catch", run_dir="run", resume=True, steps=5000)
        yield RunFolder(folder / "run")


def test_tensorboard_has_scalars_histograms_and_videos(tracked: RunFolder) -> None:
    events = EventAccumulator(str(tracked.tensorboard), {"images": 0, "histograms": 0, "scalars": 0})
    events.Reload()
    lines = tracked.read_metrics()
    shown = [(point.step, point.value) for point in events.Scalars("episodes/return_mean")]
    assert shown == [pytest.approx((line["steps"], line["return_mean"])) for line in lines if line["episodes"]]

    network = asyncrl.load(tracked.path).network
    parameters = {f"parameters/{name}": tensor for name, tensor in network.named_parameters()}
    assert set(events.Tags()["histograms"]) == set(parameters)
    for name, tensor in parameters.items():
        *_, last = events.Histograms(name)
        found = last.histogram_value
        assert last.step == lines[-1]["steps"]
        assert (found.num, sum(found.bucket)) == (tensor.numel(), tensor.numel())
        assert (found.min, found.max, found.sum) == pytest.approx(
            (tensor.min().item(), tensor.max().item(), tensor.sum().item()), abs=1e-4
        )

    evaluations = [json.loads(line)["steps"] for line in tracked.evaluations_file.read_text().splitlines()]
    videos = events.Images("evaluation/episode")
    assert [video.step for video in videos] == evaluations
    with Image.open(io.BytesIO(videos[-1].encoded_image_string)) as gif:
        assert (gif.format, gif.size) == ("GIF", (videos[-1].width, videos[-1].height))
        assert gif.n_frames == 10  # the ball falls through ten rows
        assert max(gif.size) <= 256


def wandb_records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file, which has LevelDB's log format after a header of its own."""
    data, at, block, record = file.read_bytes(), 7, 32 * 1024, b""
    while at + 7 <= len(data):
        if block - at % block < 7:  # too little is left of the block for a record's header
            at += block - at % block
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_wandb_keeps_metrics_offline(tracked: RunFolder) -> None:
    from wandb.proto.wandb_internal_pb2 import Record

    key = json.loads(tracked.trackers_file.read_text())["wandb"]
    files = sorted(tracked.path.glob(f"wandb/offline-run-*-{key}/run-{key}.wandb"))

    def records(file: Path) -> list[Any]:
        return [Record.FromString(data) for data in wandb_records(file)]

    # its process writes the file after it has said that the run is finished
    wait_for(lambda: all(records(file)[-1].HasField("exit") for file in files), 60, "the end of wandb's files")
    assert len(files) == 2
    history: list[dict[str, Any]] = []
    for record in [record for file in files for record in records(file)]:
        if record.HasField("history"):
            items = record.history.item
            history.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
        if record.HasField("run"):
            assert (record.run.project, record.run.display_name) == ("Catch-v0-a3c", "run")
            config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            assert config["network"]["memory"] == "none"
    shown = [(row["steps"], row["episodes/return_mean"]) for row in history if "episodes/return_mean" in row]
    assert shown == [(line["steps"], line["return_mean"]) for line in tracked.read_metrics() if line["episodes"]]
    assert sum("parameters/heads.value.value.bias/values" in row for row in history) == 2
    assert len(list(tracked.path.glob(f"wandb/offline-run-*-{key}/files/media/videos/**/*.gif"))) == 2


def test_mlflow_keeps_one_run_over_both_sessions(tracked: RunFolder) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tracked.path.parent}/mlflow.db")
    experiment = client.get_experiment_by_name("Catch-v0-a3c")
    assert experiment is not None
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == json.loads(tracked.trackers_file.read_text())["mlflow"]
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert (found.data.params["steps"], found.data.params["network.memory"]) == ("3000", "none")
    assert found.data.tags["asyncrl.ended_by"] == "steps"
    history = client.get_metric_history(found.info.run_id, "episodes/return_mean")
    lines = [line for line in tracked.read_metrics() if line["episodes"]]
    assert sorted((m.step, m.value) for m in history) == [(line["steps"], line["return_mean"]) for line in lines]
    assert len(client.list_artifacts(found.info.run_id, "evaluation/episode")) == 2


@pytest.mark.skipif(not HAS_TRACKIO, reason="trackio is not installed")
def test_trackio_keeps_one_run_over_both_sessions(tracked: RunFolder) -> None:
    import sqlite3

    name = json.loads(tracked.trackers_file.read_text())["trackio"]
    [file] = (tracked.path.parent / "trackio").glob("*.db")
    rows = sqlite3.connect(file).execute("select run_name, run_id, step, metrics from metrics order by id").fetchall()
    assert {row[0] for row in rows} == {name}
    assert len({row[1] for row in rows}) == 1
    values = [(step, json.loads(metrics).get("episodes/return_mean")) for _, _, step, metrics in rows]
    lines = [line for line in tracked.read_metrics() if line["episodes"]]
    assert [value for value in values if value[1] is not None] == [
        (line["steps"], line["return_mean"]) for line in lines
    ]


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_made(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train", "Catch", "--trackers", "mlflow", "--run-dir", "run"]) == 2
    assert f"MLflow is not installed: {install_command('asyncrl[mlflow]')}" in capsys.readouterr().err
    assert not Path("run").exists()
    with pytest.raises(UserError, match="--eval-video needs --eval-every"):
        small(eval_video=True)


@pytest.mark.parametrize("text", ["", "[]", '{"wandb": 3}', "[" * 100_000])
def test_a_damaged_list_of_trackers_is_named(tmp_path: Path, text: str) -> None:
    run = TrackedRun(RunFolder(tmp_path), "Catch-v0-a3c", {})
    run.remember("wandb", "one")
    run.remember("mlflow", "two")
    assert (run.known_as("wandb"), run.known_as("mlflow"), run.known_as("trackio")) == ("one", "two", None)
    run.folder.trackers_file.write_text(text)
    with pytest.raises(UserError, match=r"trackers\.json"):
        run.known_as("wandb")


def test_wandb_does_not_ask_in_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    from asyncrl.reporting.trackers.wandb import WeightsAndBiases

    monkeypatch.setattr(wandb, "setup", lambda: SimpleNamespace(settings=SimpleNamespace(mode="online")))
    monkeypatch.setattr(wandb, "login", lambda prompt: prompt)
    with pytest.raises(OSError, match="nobody is logged in: run 'wandb login'"):
        WeightsAndBiases(None).open()  # type: ignore[arg-type]


class FakeTracker:
    """Does as it is told."""

    name = "the tracker"

    def __init__(self, open_: Callable[[], object] = lambda: None, write: Callable[[], object] = lambda: None) -> None:
        self.open_, self.write_, self.lines, self.calls = open_, write, list[int](), list[str]()

    def open(self) -> None:
        self.calls.append("open")
        self.open_()

    def write(self, metrics: dict[str, Any]) -> None:
        self.calls.append("write")
        self.write_()
        self.lines.append(metrics["steps"])

    def close(self) -> None:
        self.calls.append("close")


def fail() -> None:
    raise RuntimeError("no route to host\nand more")


def test_what_waits_for_a_tracker_arrives_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    ready = threading.Event()
    tracker = FakeTracker(open_=lambda: ready.is_set() or fail())
    sink = BackgroundSink(tracker)
    while not sink.failing:
        time.sleep(0.001)
    for steps in range(5):
        with pytest.raises(OSError, match=r"^no route to host$"):
            sink.write({"steps": steps})
    ready.set()
    while not tracker.lines:
        time.sleep(0.001)
    sink.write({"steps": 5})
    sink.close()
    assert tracker.lines == list(range(6))
    assert tracker.calls[-1] == "close"


def test_a_line_that_a_tracker_never_takes_is_given_up_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    failures = iter([True] * 3)
    tracker = FakeTracker(write=lambda: next(failures, False) and fail())
    sink = BackgroundSink(tracker)
    sink.write({"steps": 0})
    while not sink.lost:
        time.sleep(0.001)
    sink.waiting.append(lambda: None)
    with sink.changed:
        sink.changed.notify()
    while sink.failing:
        time.sleep(0.001)
    sink.write({"steps": 1})
    with pytest.raises(OSError, match="1 records are lost: no route to host"):
        sink.close()
    assert tracker.lines == [1]


def test_a_tracker_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "CLOSE_SECONDS", 0.1)
    release = threading.Event()
    sink = BackgroundSink(FakeTracker(open_=release.wait))
    for steps in range(100):
        sink.write({"steps": steps})
    with pytest.raises(OSError, match="it has not finished: 100 records or more may be lost"):
        sink.close()
    release.set()


def test_lines_that_found_no_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MOST_WAITING", 10)
    release = threading.Event()
    tracker = FakeTracker(open_=release.wait)
    sink = BackgroundSink(tracker)
    for steps in range(25):
        sink.write({"steps": steps})
    release.set()
    with pytest.raises(OSError, match="15 records are lost: they came faster than they could be sent"):
        sink.close()
    assert tracker.lines == list(range(15, 25))


def test_a_start_that_fails_at_mlflow_makes_one_run_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setattr("mlflow.tracking.get_tracking_uri", lambda: "http://nowhere")
    monkeypatch.setattr("mlflow.tracking.MlflowClient", client := MagicMock(spec=MlflowClient))
    server = client.return_value = MagicMock(spec=MlflowClient)
    server.create_run.return_value.info.run_id = "one"
    server.get_run.return_value.data.params = {}
    server.log_batch.side_effect = [OSError("no route to host"), OSError("no route to host"), None]
    tracker = MLflow(TrackedRun(RunFolder(tmp_path), "Catch-v0-a3c", {"steps": 7}))
    for _ in range(2):
        with pytest.raises(OSError, match="no route"):
            tracker.open()
    tracker.open()
    assert server.create_run.call_count == 1
    [parameter] = server.log_batch.call_args.kwargs["params"]
    assert (server.log_batch.call_args.args, parameter.key, parameter.value) == (("one",), "steps", "7")


class Interrupted(Callback):
    """The second Ctrl-C, while the run goes on."""

    def on_metrics(self, metrics: MetricsWritten) -> None:
        raise KeyboardInterrupt


def with_hanging_trackers(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Gives runs two trackers that wait for the event."""
    release = threading.Event()
    monkeypatch.setattr(
        "asyncrl.training.make_trackers", lambda *_: [BackgroundSink(FakeTracker(open_=release.wait)) for _ in "12"]
    )
    monkeypatch.setattr("asyncrl.analysis.curves.plot_runs", lambda *_: Path("picture").touch())
    return release


def test_a_second_signal_waits_for_no_tracker(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = with_hanging_trackers(monkeypatch)
    monkeypatch.setattr(background, "CLOSE_SECONDS", 10_000.0)
    with pytest.raises(KeyboardInterrupt):
        asyncrl.train("Catch", run_dir="run", runtime="serial", steps=2000, callbacks=[Interrupted()])
    assert (
        Path("run/log.txt").read_text().count("warning: the tracker did not get everything (it has not finished") == 2
    )
    release.set()


def test_trackers_are_waited_for_together(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "CLOSE_SECONDS", 1.0)
    monkeypatch.setattr(closing, "QUIET_SECONDS", 0.1)
    told: list[tuple[float, str]] = []
    release = threading.Event()
    trackers = [BackgroundSink(FakeTracker(open_=release.wait)) for _ in range(4)]
    began = time.monotonic()
    closing.close_all([], trackers, lambda text: told.append((time.monotonic() - began, text)), at_once=False)
    assert 1.0 <= time.monotonic() - began < 3.0  # one after the other would take four seconds
    assert len(told) == 5
    assert told[0][0] < 0.9
    assert told[0][1].startswith("the run is over; waiting up to 1 s for the tracker, the tracker")
    release.set()


def test_ctrl_c_gives_up_the_wait_for_trackers_alone(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = with_hanging_trackers(monkeypatch)
    monkeypatch.setattr(closing, "QUIET_SECONDS", 0.05)
    told, ended = list[str](), list[str]()

    class Terminal(PlainProgress):
        def tell(self, text: str) -> None:
            told.append(text)
            if "Ctrl-C" in text:
                signal.raise_signal(signal.SIGINT)

        def close(self) -> None:
            ended.append(f"after {len(told)} words")

    monkeypatch.setattr(
        "asyncrl.reporting.progress.make_progress", lambda console, steps, _quiet: Terminal(console, steps)
    )
    result = asyncrl.train("Catch", run_dir="run", runtime="serial", steps=2000, until_return=None)
    assert result.summary["status"] == "done"
    assert ended == ["after 0 words"]
    assert len(told) == 3
    assert Path("picture").exists()
    assert Path("run/log.txt").read_text().count("did not get everything") == 2
    release.set()


def test_trackers_that_fail_do_not_end_a_run(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[BackgroundSink]:
        sinks = [BackgroundSink(FakeTracker(open_=fail)), BackgroundSink(FakeTracker(write=fail))]
        sinks[1].name = "the other"
        return sinks

    monkeypatch.setattr("asyncrl.training.make_trackers", broken)
    monkeypatch.setattr("asyncrl.analysis.curves.plot_runs", lambda *_: None)
    result = asyncrl.train("Catch", run_dir="run", runtime="serial", steps=60_000, until_return=None)
    assert result.summary["status"] == "done"
    text = Path("run/log.txt").read_text()
    for name in ("the tracker", "the other"):
        assert text.count(f"warning: {name} cannot be written (no route to host): training goes on") == 1
        assert f"warning: {name} did not get everything" in text


def test_a_sink_that_raises_does_not_end_a_run(tmp_path: Path) -> None:
    class Broken:
        name = "a broken sink"

        def write(self, *_: object) -> None:
            raise OSError("no")

        write_histograms = write_video = write_summary = write

        def close(self) -> None:
            pass

    experiment = small(steps=2000, eval_every=1000, eval_video=True, histograms=True)
    told: list[str] = []
    (tmp_path / "run").mkdir()
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path / "run"), None, told.append)
    assert supervisor.run([Broken()]).status == "done"
    assert len(told) == 1


def test_an_episode_that_cannot_be_filmed_costs_its_film_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncrl.analysis.video.EpisodePlayer", lambda *_, **__: fail())
    outcome, _, recorder = run(tmp_path / "run", steps=2000, eval_every=1000, eval_video=True)
    assert outcome.status == "done"
    assert any("evaluation_return_mean" in line for line in recorder.lines)
    assert RunFolder(tmp_path / "run").evaluations_file.read_text().count("\n") == 2


def test_films_of_long_episodes_have_few_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from asyncrl.analysis import video as video_files
    from asyncrl.runtime.agent import Agent
    from asyncrl.runtime.networks import make_network

    monkeypatch.setattr(video_files, "MOST_FRAMES", 4)
    experiment = small()
    info = describe(experiment)
    pulse = np.zeros(1, np.int64)
    video = video_files.episode_gif(
        Agent(experiment, info, make_network(experiment, info), torch.Generator()), 0, pulse
    )
    with Image.open(io.BytesIO(video.gif)) as gif:
        assert 2 <= gif.n_frames <= 5
    assert (video.length, abs(video.total_reward), pulse[0]) == (9, 1.0, 10)


def test_no_histogram_is_asked_of_a_tracker_that_has_none() -> None:
    sink = BackgroundSink(FakeTracker())
    sink.write_histograms({}, 0)
    sink.write_summary({})
    sink.close()
    assert "write" not in sink.tracker.calls  # type: ignore[attr-defined]


def test_parameters_that_are_not_finite_do_not_keep_a_run_from_its_end() -> None:
    shown: dict[str, Histogram] = {}
    sink = SimpleNamespace(name="a sink", write_histograms=lambda histograms, steps: shown.update(histograms))
    told: list[str] = []
    infinite = float("inf")
    parameters = {
        "damaged": torch.tensor([1.0, infinite, -infinite, 3.0]),
        "lost": torch.full((2,), float("nan")),
        "empty": torch.empty(0),
    }
    told_of = Listeners(DiskWatch(told.append), told.append)
    told_of.attach([sink])  # type: ignore[list-item]
    told_of.histograms(parameters, 0, at_last=True)
    assert list(shown) == ["damaged"]
    assert (shown["damaged"].counts.sum(), shown["damaged"].minimum, shown["damaged"].maximum) == (2, 1.0, 3.0)
    assert not told
