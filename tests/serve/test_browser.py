"""The pages in a real browser beside a real training, and how the server ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import asyncrl
from asyncrl.cli import main
from asyncrl.run_folder import RunFolder
from tests.browser import chromium
from tests.runtime.processes import wait_for

TRAIN = ("train", "--resume", "--run-dir", "run", "--steps", "1G", "--checkpoint-seconds", "1")
SECONDS = 60.0
LISTENS = "document.querySelector('[data-speed][aria-pressed]') !== null"
"""Whether a page has received an event of the stream, even while the game is paused."""


@dataclass
class Served:
    address: str
    port: int
    server: subprocess.Popen[str]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `asyncrl ARGUMENTS` in one folder; kills what is left at the end."""
    folder, started = tmp_path_factory.mktemp("browser"), []

    def launch(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "asyncrl", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(asyncrl.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    launch.folder = folder  # type: ignore[attr-defined]
    yield launch
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def served(start: Any, finished: RunFolder) -> Served:
    """A training that continues during the tests, and the server of its pages."""
    shutil.copytree(finished.path, start.folder / "run")
    start(*TRAIN)
    server = start("watch", "run", "--serve", "--port", "0")
    line = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
    assert found, line
    return Served(found[0], int(found[1]), server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """A page of the browser, which must request nothing from elsewhere and have no script errors."""
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.set_default_timeout(1000 * SECONDS)
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield page
    page.close()
    assert not errors
    assert all(url.startswith((served.address, "data:")) for url in requests), requests


def test_an_agent_is_seen_while_it_is_trained(page: Any, served: Served) -> None:
    def holds(script: str, what: str) -> None:  # wait_for_function needs what the page's policy forbids
        wait_for(lambda: page.evaluate(script), SECONDS, what)

    page.goto(served.address)
    holds("document.querySelectorAll('#bars .track i').length === 3", "the first step")
    pictures = {page.eval_on_selector("#frame", "image => image.src")}
    wait_for(
        lambda: pictures.add(page.eval_on_selector("#frame", "image => image.src")) or len(pictures) > 3,
        SECONDS,
        "a picture that moves",
    )
    sums = page.evaluate(
        "[...document.querySelectorAll('#bars .number')].map(cell => Number(cell.textContent)).reduce((a, b) => a + b)"
    )
    assert abs(sums - 1) < 0.003  # of three numbers with three digits each

    def steps() -> int:
        found = re.match(r"parameters of training step ([0-9,]+), saved \d+ s ago", page.inner_text("#parameters"))
        assert found
        return int(found[1].replace(",", ""))

    before = steps()
    wait_for(lambda: steps() > before, SECONDS, "newer parameters")

    page.wait_for_selector("#charts svg")
    holds("document.querySelector('#workers').textContent.includes('working')", "the worker's state")
    holds("document.querySelector('#status').textContent.startsWith('training')", "the run's state")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400  # nothing sticks out of a phone

    page.click("text=pause")
    page.wait_for_selector("[data-speed='0.0'][aria-pressed='true']")


def test_a_page_in_the_background_asks_for_nothing(page: Any, served: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => window.unseen ?? true })")
    page.goto(served.address)
    wait_for(lambda: f"{served.address}training/charts" in asked, SECONDS, "the page's own work")
    page.wait_for_timeout(500)
    assert f"{served.address}stream" not in asked
    assert not page.evaluate(LISTENS)
    page.evaluate("window.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(lambda: page.evaluate(LISTENS), SECONDS, "the stream")


def test_a_page_too_many_says_so_and_tries_again(browser: Any, served: Served) -> None:
    other = browser.new_page()  # a refusal is an error on its console
    other.route("**/stream", lambda route: route.fulfill(status=503), times=1)
    other.clock.install()
    other.goto(served.address)
    wait_for(lambda: "too many pages" in other.inner_text("#notice"), SECONDS, "the refusal")
    other.clock.fast_forward(5_000)
    wait_for(lambda: other.evaluate(LISTENS), SECONDS, "the stream")
    other.close()


def test_the_end_frees_the_port(served: Served) -> None:
    stream = urllib.request.urlopen(f"{served.address}stream", timeout=SECONDS)
    stream.readline()
    served.server.send_signal(signal.SIGINT)
    assert served.server.wait(SECONDS) == 130  # although the stream is open
    stream.close()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", served.port))


def test_what_cannot_be_served(finished: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        assert main(["watch", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    run = str(finished.path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "choose another --port" in refused(run, "--serve", "--port", port)
    assert "choose another --port" in refused(run, "--serve", "--port", "99999")
    assert "leave out --video" in refused(run, "--serve", "--video", "a.mp4")
    assert "belongs to --serve" in refused(run, "--port", "6010")
    assert "there is no run folder" in refused("nowhere", "--serve")
    assert "holds no checkpoint '5'" in refused(run, "--serve", "--checkpoint", "5")
