"""Progress of a training: a live bar on a terminal, elsewhere one plain line every few seconds."""

from __future__ import annotations

import errno
import html
import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from asyncrl import metrics
from asyncrl.formatting import duration, short
from asyncrl.reporting.sink import Sink

PLAIN_SECONDS = 5.0
"""Least time between two plain lines."""


class TrainingConsole(Console):
    """A console that raises `BrokenPipeError` when its reader has gone, where rich would end the program."""

    def on_broken_pipe(self) -> None:
        """Raises the error instead of ending the program."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads it")


class Progress(Sink, Protocol):
    """A sink that people watch while a run goes on."""

    def tell(self, text: str) -> None:
        """Prints a message that stays on the screen."""
        ...


def make_progress(console: Console, steps: int, quiet: bool = False) -> Progress:
    """A live bar in a notebook or on a terminal, plain lines elsewhere, and warnings only if it should be quiet."""
    if quiet:
        return QuietProgress(console)
    if console.is_jupyter:
        return NotebookProgress(steps)
    return LiveProgress(console, steps) if console.is_terminal else PlainProgress(console, steps)


class QuietProgress:
    """Prints warnings and nothing else."""

    name = "the output"

    def __init__(self, console: Console) -> None:
        self.console = console

    def write(self, line: dict[str, Any]) -> None:
        """Prints nothing."""

    def tell(self, text: str) -> None:
        """Prints the message if it is a warning."""
        if _style(text):
            _print_message(self.console, text)

    def close(self) -> None:
        """Prints nothing."""


class NotebookProgress:
    """A progress bar with the most important metrics below it, in the output of a notebook's cell."""

    name = "the notebook"

    def __init__(self, steps: int) -> None:
        from IPython.display import display

        self.steps = steps
        self.display: Any = display(self._view("starting workers", 0), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def write(self, line: dict[str, Any]) -> None:
        """Updates the bar and the metrics."""
        self.display.update(self._view(describe(line, self.steps), min(line[metrics.STEPS], self.steps)), raw=True)

    def tell(self, text: str) -> None:
        """Prints a message below the bar."""
        print(text)

    def close(self) -> None:
        """Leaves the bar as it is."""

    def _view(self, text: str, steps: int) -> dict[str, str]:
        bar = f'<progress value="{steps}" max="{self.steps}" style="width: 100%"></progress>'
        return {"text/plain": text, "text/html": f"{bar}<br>{html.escape(text)}"}


class LiveProgress:
    """A progress bar with the most important metrics below it; long lines wrap on narrow terminals."""

    name = "the terminal"

    def __init__(self, console: Console, steps: int) -> None:
        self.bar, self.steps = ProgressBar(total=steps, width=None), steps
        self.live = Live(self._view("starting workers"), console=console, refresh_per_second=4)
        self.live.start()

    def write(self, line: dict[str, Any]) -> None:
        """Updates the bar and the metrics."""
        self.bar.update(min(line[metrics.STEPS], self.steps))
        self.live.update(self._view(describe(line, self.steps)))

    def tell(self, text: str) -> None:
        """Prints a message above the bar."""
        _print_message(self.live.console, text)

    def close(self) -> None:
        """Stops updating; the bar stays on the screen."""
        self.live.stop()

    def _view(self, text: str) -> Table:
        table = Table.grid(expand=True)
        table.add_row(self.bar)
        table.add_row(Text(text))
        return table


class PlainProgress:
    """One line every few seconds, for logs."""

    name = "the output"

    def __init__(self, console: Console, steps: int) -> None:
        self.console, self.steps, self.written_at = console, steps, 0.0
        self.last: dict[str, Any] | None = None  # a line that was not printed yet

    def write(self, line: dict[str, Any]) -> None:
        """Prints the line if the previous one is at least `PLAIN_SECONDS` old."""
        self.last = line
        if time.monotonic() - self.written_at >= PLAIN_SECONDS:
            self._print(line)

    def tell(self, text: str) -> None:
        """Prints a message."""
        _print_message(self.console, text)

    def close(self) -> None:
        """Prints the last line, unless it has been printed."""
        if self.last is not None:
            self._print(self.last)

    def _print(self, line: dict[str, Any]) -> None:
        self.written_at, self.last = time.monotonic(), None
        self.console.print(describe(line, self.steps), soft_wrap=True, highlight=False)


def _print_message(console: Console, text: str) -> None:
    console.print(text, style=_style(text), soft_wrap=True, highlight=False, markup=False)


def _style(text: str) -> str:
    return "yellow" if text.startswith("warning") else ""


def describe(line: Mapping[str, Any], total: int) -> str:
    """The most important metrics of a line as text.

    Args:
        line: A line of metrics.
        total: Steps of the whole run.
    """
    steps, frames, speed = line[metrics.STEPS], line[metrics.FRAMES], line[metrics.STEPS_PER_SECOND]
    parts = [f"steps {short(steps)}/{short(total)} ({100 * min(1.0, steps / total):.0f} %)"]
    if frames != steps:
        parts.append(f"frames {short(frames)}")
    parts.append(f"{short(speed)} steps/s")
    for metric in metrics.METRICS.values():
        if metric.terminal and metric.name in line:
            value = line[metric.name]
            parts.append(f"{metric.terminal} -" if value is None else f"{metric.terminal} {value:.2f}")
    if speed > 0 and steps < total:
        parts.append(f"{duration((total - steps) / speed)} left")
    return " · ".join(parts)
