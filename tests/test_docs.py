"""What the pages say can be done: blocks of code are run or parsed, links lead somewhere.

- ```python is run as it stands, as a script of its own. With title="FILE" it is saved as that file and imported.
- ```bash holds commands of asyncrl, which are run.
- ```text is output, or a drawing.
- An indented block is a list of commands that are not run, as many take hours: the program's own parser reads each.

All blocks of a page share one folder, in the order of the page. There is no other kind of block.
"""

from __future__ import annotations

import glob
import importlib
import pkgutil
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml

from asyncrl.algorithms import algorithm_name
from asyncrl.cli import COMMANDS, main
from asyncrl.cli import train as train_command
from asyncrl.cli.arguments import parse, split
from asyncrl.cli.train_options import parse_given
from asyncrl.errors import UserError
from asyncrl.presets.file import PresetFile, write_preset
from asyncrl.resolution import starting_point
from asyncrl.sweep.specification import option
from tests.browser import chromium
from tests.pages import PAGES, REPOSITORY, Block, anchors, blocks, formulas, inline_code, links

KINDS = {"python", "bash", "text", "indented"}
RUN = [page for page in PAGES if any(block.language in ("python", "bash") for block in blocks(page))]
REACHES = {"README.md": 200.0, "docs/quickstart.md": 0.95}
"""Least mean return of the agent that a page's last block evaluates. One run of CartPole in ten ends at 250 to 450."""
LISTS = [page for page in PAGES if any(block.language == "indented" for block in blocks(page))]


@pytest.fixture
def folder(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory whose modules can be imported, and are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [str(in_tmp), *sys.path])
    before = set(sys.modules)
    yield in_tmp
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(in_tmp)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_tested(page: str) -> None:
    unknown = [f"{page}:{block.line}: {block.language!r}" for block in blocks(page) if block.language not in KINDS]
    assert not unknown, f"the language must be one of {sorted(KINDS)}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUN)
def test_blocks_run(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(page):
        if block.language == "python":
            _run_python(block)
        elif block.language == "bash":
            for words in block.commands():
                assert words[0] == "asyncrl", f"{page}:{block.line}: only commands of asyncrl are run; indent others"
                assert _code(_with_files(words[1:])) == 0, f"{page}:{block.line}: {' '.join(words)}"
    if page in REACHES:
        assert float(capsys.readouterr().out.split()[-1]) >= REACHES[page]


def _run_python(block: Block) -> None:
    file = Path(block.title or f"block_{block.line}.py").absolute()
    file.write_text(block.text)
    if block.title:
        importlib.import_module(file.stem)
    else:
        runpy.run_path(str(file), run_name="__main__")


def _with_files(words: list[str]) -> list[str]:
    """What the shell does with stars."""
    return [name for word in words for name in ((sorted(glob.glob(word)) or [word]) if "*" in word else [word])]


def _code(arguments: list[str]) -> object:
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


@pytest.mark.filterwarnings("ignore:.*Overriding environment")  # of a page that was run before
@pytest.mark.parametrize("page", LISTS)
def test_listed_commands_are_understood(page: str, folder: Path) -> None:
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.text)  # commands name it
        for words in block.commands() if block.language == "indented" else ():
            _check(words, f"{page}:{block.line}: {' '.join(words)}")


def _check(words: list[str], where: str) -> None:
    match words:
        case ["asyncrl", name, *arguments]:
            assert name in COMMANDS, where
            try:
                _parse(name, arguments)
            except UserError as error:
                pytest.fail(f"{where}: {error}")
            except SystemExit as end:
                if end.code != 0:  # it is for --help
                    pytest.fail(where)
        case ["make", *targets]:
            known = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
            assert {target for target in targets if "=" not in target} <= set(known), where
        case ["pip", "install", *options, "-e", requirement]:
            assert options in ([], ["--constraint", "constraints.txt"]), where
            _check_extras(requirement, where)
        case _:
            pytest.fail(f"{where}: not a command that is known here")


def _parse(name: str, arguments: list[str]) -> None:
    """Reads arguments as the command does, and leaves it at that."""
    module = importlib.import_module(f"asyncrl.cli.{name}")
    if name == "train":
        _parse_train(arguments)
    elif hasattr(module, "split"):  # it takes options of train too
        own, passed = split(arguments, module.Arguments)
        given = parse(module.Arguments, name, own)
        for settings in _each_value_once(getattr(given, "grid", ())) if given.environment else ():
            _parse_train([given.environment, *passed, *settings])
        if name == "tune":  # commands that follow use what it writes
            start = starting_point(given.environment)
            file = Path("tunes", given.environment, "best.yaml")
            file.parent.mkdir(parents=True, exist_ok=True)
            write_preset(file, PresetFile(start.preset, algorithm_name(start.algorithm), {}))
    else:
        parse(module.Arguments, name, arguments)


def _parse_train(arguments: list[str]) -> None:
    request = train_command.make_request(parse_given(arguments))
    if not request.resume:
        request.experiment()


def _each_value_once(grid: tuple[str, ...]) -> list[list[str]]:
    """Options for a few combinations of the settings in a grid, in which each value is there."""
    settings = [(name, values.split(",")) for name, _, values in (text.partition("=") for text in grid)]
    count = max((len(values) for _, values in settings), default=1)
    return [[word for name, values in settings for word in option(name, values[k % len(values)])] for k in range(count)]


def _check_extras(requirement: str, where: str) -> None:
    known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    extras = re.fullmatch(r"\.\[([\w,-]+)\]", requirement)
    assert extras is not None, where
    assert set(extras[1].split(",")) <= set(known), where


def test_a_page_shows_an_example_as_it_is() -> None:
    shown = [block for page in PAGES for block in blocks(page) if block.title == "reinforce.py"]
    assert [block.text for block in shown] == [(REPOSITORY / "examples" / "reinforce.py").read_text("utf-8")]


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every option of every command."""
    text = StringIO()
    with redirect_stdout(text):
        for name in COMMANDS:
            _code([name, "--help"])
        for algorithm in ("a3c", "unreal", "nstep-q", "dqn", "acer", "pgq", "pqn", "ppo", "impala", "nfq"):
            _code(["train", "Catch", "--algorithm", algorithm, "--help"])
    return set(re.findall(r"--[a-z][a-z-]+", text.getvalue()))


OF_CLEANRL = {
    *("--env-id", "--total-timesteps", "--num-envs", "--num-steps", "--gamma", "--ent-coef", "--vf-coef"),
    *("--max-grad-norm", "--anneal-lr", "--track", "--capture-video", "--num-minibatches", "--update-epochs"),
}


@pytest.mark.parametrize("page", PAGES)
def test_options_in_the_text_exist(page: str, options: set[str]) -> None:
    of_others = {"--constraint", "--logdir", "--shm-size"} | (OF_CLEANRL if page == "docs/coming_from.md" else set())
    named = {name for code in inline_code(page) for name in re.findall(r"--[a-z][a-z-]+", code)}
    assert named <= options | of_others


@pytest.mark.parametrize("page", PAGES)
def test_extras_are_installed_from_the_checkout(page: str) -> None:
    for code in inline_code(page):
        if code.startswith("pip install") and "[" in code:
            _check_extras(code.split()[-1].strip('"'), f"{page}: {code}")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.resolve().is_relative_to(REPOSITORY), link
        assert target.is_file(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.resolve().relative_to(REPOSITORY).as_posix()), f"{page}: {link}"


def test_the_site_has_every_page() -> None:
    navigation = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    on_the_site = {name for part in navigation for name in _leaves(part)}
    assert on_the_site == {page.removeprefix("docs/") for page in PAGES} - {"README.md"}


def _leaves(part: object) -> Iterator[str]:
    match part:
        case dict():
            for inner in part.values():
                yield from _leaves(inner)
        case list():
            for inner in part:
                yield from _leaves(inner)
        case _:
            yield str(part)


def test_the_site_brings_its_styles_scripts_and_fonts_along() -> None:
    settings = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))
    assert settings["theme"]["font"] is False
    for name in settings["extra_css"] + settings["extra_javascript"]:
        assert (REPOSITORY / "docs" / name).is_file()
    katex = REPOSITORY / "docs" / "katex"
    fonts = re.findall(r"url\((fonts/[\w-]+\.woff2)\)", (katex / "katex.min.css").read_text("utf-8"))
    assert len(fonts) == 20
    assert all((katex / font).is_file() for font in fonts)


def test_formulas_can_be_typeset() -> None:
    render = "katex.renderToString(formula, {throwOnError: true})"
    wrong = f"try {{ {render}; return ''; }} catch (error) {{ return String(error); }}"
    with chromium() as browser:
        tab = browser.new_page()
        tab.add_script_tag(path=REPOSITORY / "docs" / "katex" / "katex.min.js")
        found = [(page, formula) for page in PAGES for formula in formulas(page)]
        assert {page for page, _ in found} >= {
            f"docs/{name}.md"
            for name in ("a3c", "acer", "dqn", "impala", "nstep_q", "onestep_q", "pgq", "ppo", "sarsa", "unreal")
        }
        for page, formula in found:
            assert tab.evaluate(f"formula => {{ {wrong} }}", formula) == "", f"{page}: {formula}"


def test_what_the_reference_names_exists() -> None:
    for page in ("docs/api.md", "docs/api_functional.md"):
        names = re.findall(r"^::: (\S+)$", (REPOSITORY / page).read_text("utf-8"), re.MULTILINE)
        assert names
        for name in names:
            pkgutil.resolve_name(name)
