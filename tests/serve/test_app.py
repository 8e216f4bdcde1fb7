"""The Flask application, tested without a browser."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import BaseWSGIServer

from asyncrl.errors import RunError
from asyncrl.run_folder import RunFolder
from asyncrl.serve import training_view
from asyncrl.serve.app import create_app
from asyncrl.serve.charts import Chart
from asyncrl.serve.latest import LatestAgent
from asyncrl.serve.player import Player
from asyncrl.serve.server import serve

HOST = {"Host": "127.0.0.1:6010"}


@pytest.fixture
def client(finished: RunFolder) -> Iterator[FlaskClient]:
    player = Player(LatestAgent(finished))
    with closing(player):
        yield create_app(finished, player).test_client()


def client_of(run: RunFolder) -> FlaskClient:
    return create_app(run, Player(LatestAgent(run))).test_client()


def parts(run: RunFolder) -> dict[str, str]:
    client = client_of(run)
    return {
        **json.loads(client.get("/training/parts").text),
        **json.loads(client.get("/training/charts").text),
    }


@pytest.mark.parametrize(
    "path", ["/", "/training", *(f"/static/{name}" for name in ("style.css", "serve.css", "live.js", "training.js"))]
)
def test_pages_and_static_files(client: FlaskClient, path: str) -> None:
    response = client.get(path, headers=HOST)
    assert response.status_code == 200
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "http://" not in response.text
    assert "https://" not in response.text


@pytest.mark.parametrize(
    "path",
    [
        *("/experiment.yaml", "/../experiment.yaml", "/%2e%2e/app.py", "/pages/style.css", "//etc/passwd", "/x"),
        *("/static", "/static/", "/static/../live.html", "/static/%2e%2e/report.html", "/static//etc/passwd"),
        *("/live.html", "/static/report.html", "/static/..%5creport.html", "/style.css"),
    ],
)
def test_other_paths_are_not_found(client: FlaskClient, path: str) -> None:
    assert client.get(path, headers=HOST).status_code in (404, 308)


def test_requests_of_other_sites_and_for_other_hosts_are_refused(client: FlaskClient) -> None:
    assert client.get("/", headers={"Host": "evil.example:6010"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:9999"}).status_code == 200  # through a tunnel
    foreign = {**HOST, "Origin": "https://evil.example"}
    assert client.post("/speed", data={"speed": "4"}, headers=foreign).status_code == 403
    assert client.get("/stream", headers={**HOST, "Sec-Fetch-Site": "cross-site"}).status_code == 403
    for odd in ("http://[::", "null", "", "127.0.0.1:6010"):
        assert client.get("/stream", headers={**HOST, "Origin": odd}).status_code == 403
    neighbour = {**HOST, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}  # another port's page
    assert client.get("/training/parts", headers=neighbour).status_code == 403
    own = {**HOST, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert client.get("/static/training.js", headers=own).status_code == 200
    link = {**HOST, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers={**link, "Sec-Fetch-Dest": "document"}).status_code == 200


def test_no_site_can_frame_the_pages(client: FlaskClient) -> None:
    assert "frame-ancestors 'none'" in client.get("/", headers=HOST).headers["Content-Security-Policy"]
    for kind in ("iframe", "frame", "embed", "object"):
        frame = {**HOST, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": kind}
        assert client.get("/", headers=frame).status_code == 403


def test_a_redirect_has_its_location_and_a_wrong_method_the_allowed_ones(client: FlaskClient) -> None:
    redirect = client.get("/training//parts", headers=HOST)
    assert (redirect.status_code, redirect.headers["Location"]) == (308, "http://127.0.0.1:6010/training/parts")
    wrong = client.get("/speed", headers=HOST)
    assert (wrong.status_code, {*wrong.headers["Allow"].split(", ")}) == (405, {"POST", "OPTIONS"})
    assert wrong.mimetype == "text/plain"


def test_a_server_that_breaks_down_is_reported(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseWSGIServer, "serve_forever", lambda self, poll_interval: self.server_close())
    monkeypatch.setattr(BaseWSGIServer, "shutdown", lambda self: None)  # it would wait for what was put aside here
    with pytest.raises(RunError, match="broke down"):
        serve(finished, LatestAgent(finished), False, 0, 0, lambda address: None)


def test_the_speed(client: FlaskClient) -> None:
    own = {**HOST, "Origin": "http://127.0.0.1:6010"}
    assert client.post("/speed", data={"speed": "4"}, headers=own).status_code == 204
    for wrong in ("5", "nan", "", "fast"):
        assert client.post("/speed", data={"speed": wrong}, headers=own).status_code == 400
    assert client.get("/speed", headers=HOST).status_code == 405


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the drawing, which takes most of a test's time."""
    monkeypatch.setattr(training_view, "charts", lambda metrics, evaluations: [Chart("drawn", "<svg></svg>", True)])


@pytest.mark.usefixtures("no_curves")
def test_names_are_escaped(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "a<b>c")))
    run.log_file.write_text("<script>alert(1)</script>\n")
    assert "a&lt;b&gt;c" in client_of(run).get("/", headers=HOST).text
    assert "&lt;script&gt;" in parts(run)["log"]


def test_the_training_of_a_finished_run(finished: RunFolder) -> None:
    shown = parts(finished)
    assert "done (steps)" in shown["status"]
    assert shown["charts"].count("<svg") >= 5
    assert "currentColor" in shown["charts"]
    assert "#0102" not in shown["charts"]  # no stand-in is left
    assert "dots: evaluations" in shown["charts"]
    assert "ended" in shown["workers"]
    assert shown["evaluations"].count("<tr>") >= 2
    assert "started by process" in shown["log"]


def test_a_run_that_has_written_nothing_yet(run: RunFolder) -> None:
    for path in run.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != run.experiment_file:
            path.unlink()
    os.utime(run.experiment_file)
    shown = parts(run)
    assert "starting" in shown["status"]
    assert "no curves yet" in shown["charts"]


@pytest.mark.usefixtures("no_curves")
def test_a_damaged_file_is_reported(run: RunFolder) -> None:
    run.workers_file.write_text("{")
    shown = parts(run)
    assert "workers.json cannot be read" in shown["workers"]
    assert "<svg" in shown["charts"]
    run.metrics_file.write_text("[\n")
    assert "metrics.jsonl cannot be read" in parts(run)["charts"]
    run.metrics_file.write_text('{"return_mean": []}\n')
    run.workers_file.write_text('{"workers": [1, {"worker": "<b>"}]}')
    assert "unexpected contents" in parts(run)["workers"]


def test_curves_are_drawn_when_there_is_something_new(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_view, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(training_view, "LARGEST_SHARE", 1e9)
    drawn: list[int] = []
    monkeypatch.setattr(training_view, "charts", lambda metrics, evaluations: drawn.append(len(metrics)) or [])
    client = client_of(run)
    for _ in range(3):
        assert client.get("/training/charts").status_code == 200
    assert len(drawn) == 1
    with run.metrics_file.open("a") as file:
        file.write(json.dumps(run.read_metrics()[-1]) + "\n")
    client.get("/training/charts")
    assert len(drawn) == 2
    assert drawn[1] == drawn[0] + 1


@pytest.mark.usefixtures("no_curves")
def test_a_damaged_file_is_read_once(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_view, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(training_view, "LARGEST_SHARE", 1e9)
    read: list[RunFolder] = []
    read_metrics = RunFolder.read_metrics
    monkeypatch.setattr(RunFolder, "read_metrics", lambda folder: read.append(folder) or read_metrics(folder))
    run.metrics_file.write_text("[\n")
    client = client_of(run)
    for _ in range(3):
        shown = json.loads(client.get("/training/parts").text)
        assert "metrics.jsonl cannot be read" in shown["status"]
        assert "metrics.jsonl cannot be read" in shown["workers"]
        assert "metrics.jsonl cannot be read" in json.loads(client.get("/training/charts").text)["charts"]
    assert len(read) == 1
    run.metrics_file.write_text("")
    assert "cannot be read" not in client.get("/training/parts").text


@pytest.mark.usefixtures("no_curves")
def test_workers_of_a_run_that_died_are_unknown(run: RunFolder) -> None:
    run.summary_file.unlink()
    data = run.read_workers()
    assert data is not None
    data["workers"][0]["state"] = "working"
    run.workers_file.write_text(json.dumps(data | {"supervisor": os.getpid()}))
    shown = parts(run)
    assert shown["status"].startswith('<div class="training">')
    assert ">working<" in shown["workers"]
    run.workers_file.write_text(
        json.dumps(data | {"supervisor": os.getpid(), "written_at": 1.0})
    )  # before this process
    os.utime(run.experiment_file, (0, 0))
    shown = parts(run)
    assert shown["status"].startswith('<div class="gone">')
    assert ">working<" not in shown["workers"]
    assert ">unknown<" in shown["workers"]


@pytest.mark.usefixtures("no_curves")
def test_which_period_the_workers_time_is_of(run: RunFolder) -> None:
    summary = run.read_summary()
    assert summary is not None
    run.write_summary(summary | {"share_environment": 0.37})
    shown = parts(run)["workers"]
    assert "all workers, last session" in shown
    assert "environment 37 %" in shown
    run.summary_file.unlink()
    with run.metrics_file.open("a") as file:
        file.write(json.dumps(run.read_metrics()[-1] | {"share_environment": 0.41}) + "\n")
    shown = parts(run)["workers"]
    assert "all workers, latest seconds" in shown
    assert "environment 41 %" in shown
