"""Parses the pages that people read: the README and the documentation."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[1]
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/README.md", "agents/README.md")
PAGES = [*OUTSIDE, *sorted(path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("docs/**/*.md"))]


@dataclass(frozen=True)
class Block:
    """A block of code."""

    language: str  # "indented" for a list of commands
    title: str  # the file that the reader should save it as; empty if none
    text: str
    line: int  # number of its first line, from 1

    def commands(self) -> list[list[str]]:
        """The words of each command; a backslash continues a line, and `·` separates commands on one line."""
        lines = self.text.replace("\\\n", " ").replace(" · ", "\n").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: str) -> list[Block]:
    """All code blocks of a page, in order."""
    return [_block(token) for token in _tokens(page) if token.type in ("fence", "code_block")]


def _block(token: Token) -> Block:
    language, *rest = token.info.split() or [""]
    title = re.fullmatch(r'title="(.+)"', " ".join(rest))
    assert not rest or title, f'after the language only title="FILE" is understood, not {rest}'
    name = "indented" if token.type == "code_block" else language
    assert token.map is not None
    return Block(name, title[1] if title else "", token.content, token.map[0] + 1)


def inline_code(page: str) -> list[str]:
    """The inline code of a page, without the backticks."""
    return [part.content for part in _inline(page) if part.type == "code_inline"]


def formulas(page: str) -> list[str]:
    """The formulas of a page, as GitHub and the documentation site read them: between $ in a line, or between $$."""
    text = (REPOSITORY / page).read_text("utf-8")
    without_code = re.sub(r"^```.*?^```|^ {4}.*?$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    return [first or second for first, second in re.findall(r"\$\$(.+?)\$\$|\$(\S[^$\n]*)\$", without_code, re.DOTALL)]


def links(page: str) -> list[str]:
    """The targets of a page's links and pictures."""
    targets = [part.attrGet("href") or part.attrGet("src") for part in _inline(page)]
    return [str(target) for target in targets if target]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the documentation site name them."""
    tokens = _tokens(page)
    texts = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def _inline(page: str) -> Iterator[Token]:
    for token in _tokens(page):
        yield from token.children or ()


def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((REPOSITORY / page).read_text("utf-8"))
