"""`asyncrl inspect`: the page, its files, and bad input."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.cli import main
from asyncrl.installing import install_command
from tests.browser import chromium

TINY = ("--runtime", "serial", "--workers", "1", "--steps", "2k", "--until-return", "None")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on Catch, inspected."""
    path = tmp_path_factory.mktemp("inspect") / "run"
    assert main(["train", "Catch", *TINY, "--run-dir", str(path)]) == 0
    assert main(["inspect", str(path), "--states", "100"]) == 0
    return path


def test_the_page_is_self_contained_and_its_pictures_are_files_beside_it(run: Path) -> None:
    page = (run / "inspect" / "report.html").read_text("utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]{1,60})', page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"url\((?!\$\{|#)", page)  # in scripts data addresses, in drawings parts of themselves
    names = {file.name for file in (run / "inspect").iterdir()}
    assert {"report.html", "episode.mp4", "episode.png", "embedding.png", "optimum_maps.png", "filters_0.png"} <= names
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert {
        "In short",
        "Remarks",
        "Episodes",
        "What the agent looks at",
        "Comparison with the exact optimum",
        "Not shown",
    } <= set(titles)
    assert "<b>Value and advantage streams</b>: its network has no separate streams" in page
    assert page.index("This agent plays Catch-v0") < page.index("<h2>Remarks</h2>")
    assert page.count("in training units") >= 3


def test_what_cannot_be_shown_is_listed_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["train", "test/Rooms-v0", *TINY, "--memory", "lstm", "--run-dir", str(run)]) == 0
    assert main(["inspect", str(run), "--states", "35", "--output", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "observations, because the environment cannot draw itself" in page
    assert "<b>Comparison with the exact optimum</b>: it is recurrent" in page
    assert "<b>Value and policy over two dimensions</b>: its observation is not a vector" in page


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ("test/Menu-v0", ("--algorithm", "nstep-q", "--dueling")),
        ("CartPole-v1", ("--algorithm", "dqn", "--dueling", "--memory", "gru", "--replay-start", "500")),
        ("Catch", ("--algorithm", "acer", "--replay-start", "500")),
        ("Pendulum-v1", ("--algorithm", "acer", "--replay-start", "500")),
        ("MinAtar/Breakout-v1", ("--algorithm", "pqn", "--dueling")),
        ("Catch", ("--algorithm", "nfq", "--separate-actions", "--epochs", "3")),
    ],
    ids=[
        "masked actions",
        "replay",
        "policy and action values",
        "stochastic dueling",
        "layers normalised",
        "networks of each action",
    ],
)
def test_no_chapter_fails(tmp_path: Path, environment: str, options: tuple[str, ...]) -> None:
    run = tmp_path / "run"
    assert main(["train", environment, *TINY, *options, "--run-dir", str(run)]) == 0
    assert main(["inspect", str(run), "--states", "35"]) == 0
    page = (run / "inspect" / "report.html").read_text("utf-8")
    assert "it failed with" not in page
    assert ("<h2>Value and advantage streams</h2>" in page) == ("--dueling" in options)


def test_an_error_in_one_chapter_costs_only_that_chapter(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "inspect")
    (copy / "metrics.jsonl").write_text("[1, 2]\n{\n")
    for name in ("sklearn", "sklearn.decomposition", "sklearn.manifold"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["inspect", str(copy), "--states", "35"]) == 0
    page = (copy / "inspect" / "report.html").read_text("utf-8")
    assert "Nothing about the run stands out" not in page
    assert page.count(install_command("asyncrl[analysis]").replace('"', "&#34;")) == 1
    assert "<b>States the agent treats alike</b>" in page
    assert "<b>Training curves</b>" in page
    assert (copy / "inspect" / "saliency_gradients.png").exists()


def test_pictures_of_an_older_report_are_removed(run: Path) -> None:
    old = run / "inspect" / "streams.png"
    old.write_bytes(b"")
    other = run / "inspect" / "mine.png"
    other.write_bytes(b"")
    torch.set_num_threads(2)
    assert main(["inspect", str(run), "--states", "100"]) == 0
    assert torch.get_num_threads() == 1  # more threads than cores are far slower
    assert not old.exists()
    assert other.exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--dimensions", "0", "1"], "--dimensions needs an observation that is a vector"),
        (["--states", "0"], "--states must be from 1 to"),
        (["--checkpoint", "7"], "holds no checkpoint '7'"),
        (["--output", "{run}/experiment.yaml"], "cannot write to"),
    ],
)
def test_bad_input_is_one_line(run: Path, capsys: pytest.CaptureFixture[str], options: list[str], line: str) -> None:
    capsys.readouterr()
    assert main(["inspect", str(run), *(option.format(run=run) for option in options)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert line in error


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_the_video_the_curves_and_the_embedding_move_together(
    run: Path, browser: Any, scheme: str
) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or errors.append(request.url))
    page.goto(f"file://{run}/inspect/report.html")
    shown = {name: page.locator(f'[data-shows="{name}"]') for name in ("step", "value", "total")}
    bars = page.locator(".bars .number")

    def probabilities() -> list[float]:
        return [float(text.removesuffix(" %")) for text in bars.all_inner_texts()]

    page.wait_for_function("document.querySelector('.episode video').readyState >= 2")
    assert shown["step"].inner_text() == "0"
    assert sum(probabilities()) == pytest.approx(100, abs=0.3)
    before = probabilities()
    box = page.locator(".episode-curves svg").bounding_box()
    page.locator(".episode-curves svg").click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.3})
    page.wait_for_function("document.querySelector('[data-shows=step]').textContent !== '0'")
    assert probabilities() != before
    assert sum(probabilities()) == pytest.approx(100, abs=0.3)
    cursor = page.locator(".cursor").bounding_box()
    assert cursor["x"] == pytest.approx(box["x"] + box["width"] * 0.5, abs=box["width"] * 0.02)

    canvas = page.locator(".embedding canvas")
    canvas.scroll_into_view_if_needed()
    point = page.evaluate(
        "(() => { const [x, y] = JSON.parse(document.getElementById('embedding-data').textContent).points[0];"
        "const box = document.querySelector('.embedding canvas').getBoundingClientRect();"
        "return [12 + x * (box.width - 24), box.height - 12 - y * (box.height - 24)]; })()"
    )
    canvas.hover(position={"x": point[0], "y": point[1]})
    assert page.locator(".thumbnail").is_visible()
    assert "value" in page.locator(".thumbnail span").inner_text()
    page.locator(".embedding select").select_option("entropy")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert errors == []
    page.close()


def test_on_a_phone_everything_works_by_touch_and_can_be_read(run: Path, browser: Any) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = phone.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"file://{run}/inspect/report.html")
    page.wait_for_function("document.querySelector('.episode video').readyState >= 2")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator(".keyboard").is_visible()
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg text')].map((text) => text.getBoundingClientRect().height)"
    )
    assert len(sizes) > 50
    assert min(sizes) > 8
    hidden = page.evaluate(  # of the parts whose pictures stick out, those that do not say so once
        "[...document.querySelectorAll('section')].filter((part) => "
        "[...part.querySelectorAll('.scroll')].some((box) => box.scrollWidth > box.clientWidth + 1) !== "
        "([...part.querySelectorAll('.more')].filter((hint) => !hint.hidden).length === 1)).length"
    )
    assert hidden == 0

    step = page.locator("[data-shows=step]")
    page.locator("[data-go='1']").tap()
    page.locator("[data-go='1']").tap()
    page.wait_for_function("document.querySelector('[data-shows=step]').textContent === '2'")
    page.locator("[data-go=play]").tap()
    page.wait_for_function("Number(document.querySelector('[data-shows=step]').textContent) > 3")
    page.locator("[data-go=play]").tap()
    page.wait_for_function("document.querySelector('.episode video').paused")
    width = page.locator(".episode-curves svg").bounding_box()["width"]
    page.locator(".zoom").tap()
    assert page.locator(".episode-curves svg").bounding_box()["width"] == pytest.approx(3 * 364, rel=0.2)
    assert page.locator(".episode-curves svg").bounding_box()["width"] > 1.3 * width
    before = step.inner_text()
    page.locator(".episode-curves svg").tap(position={"x": 300, "y": 40})
    page.wait_for_function(f"document.querySelector('[data-shows=step]').textContent !== '{before}'")

    point = page.evaluate(
        "(() => { const [x, y] = JSON.parse(document.getElementById('embedding-data').textContent).points[0];"
        "const box = document.querySelector('.embedding canvas').getBoundingClientRect();"
        "return [12 + x * (box.width - 24), box.height - 12 - y * (box.height - 24)]; })()"
    )
    page.locator(".embedding canvas").tap(position={"x": point[0], "y": point[1]})
    assert page.locator(".thumbnail").is_visible()  # it stays although the finger is lifted
    assert errors == []
    phone.close()
