"""Live progress in the terminal, or one plain line every few seconds where there is none."""

from __future__ import annotations

import errno
import time
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from asyncrl.reporting.sink import Sink

PLAIN_SECONDS = 5.0


class TrainingConsole(Console):
    """A console whose reader may go away without ending the program."""

    def on_broken_pipe(self) -> None:
        """Called where rich would end the program."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads it")


class Progress(Sink, Protocol):
    """What people see of a run while it goes on."""

    def tell(self, text: str) -> None:
        """Shows a message for good."""
        ...


def make_progress(console: Console, steps: int) -> Progress:
    """A live bar on a terminal, plain lines elsewhere."""
    return LiveProgress(console, steps) if console.is_terminal else PlainProgress(console, steps)


class LiveProgress:
    """A bar over the steps, and below it the numbers people watch; long lines wrap on narrow terminals."""

    name = "the terminal"

    def __init__(self, console: Console, steps: int) -> None:
        self.bar, self.steps = ProgressBar(total=steps, width=None), steps
        self.live = Live(self._view("starting workers"), console=console, refresh_per_second=4)
        self.live.start()

    def write(self, metrics: dict[str, Any]) -> None:
        """Moves the bar."""
        self.bar.update(min(metrics["steps"], self.steps))
        self.live.update(self._view(describe(metrics, self.steps)))

    def tell(self, text: str) -> None:
        """Prints a message above the bar."""
        self.live.console.print(text, style=_style(text), soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Leaves the bar where it stands."""
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
        self.last: dict[str, Any] | None = None

    def write(self, metrics: dict[str, Any]) -> None:
        """Prints a line, if the last was some seconds ago."""
        self.last = metrics
        if time.monotonic() - self.written_at >= PLAIN_SECONDS:
            self._print(metrics)

    def tell(self, text: str) -> None:
        """Prints a message."""
        self.console.print(text, style=_style(text), soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Prints the last line."""
        if self.last is not None:
            self._print(self.last)

    def _print(self, metrics: dict[str, Any]) -> None:
        self.written_at, self.last = time.monotonic(), None
        self.console.print(describe(metrics, self.steps), soft_wrap=True, highlight=False)


def _style(text: str) -> str:
    return "yellow" if text.startswith("warning") else ""


def describe(metrics: dict[str, Any], total: int) -> str:
    """The numbers people watch, in one line."""
    parts = [f"steps {short(metrics['steps'])}/{short(total)} ({100 * min(1.0, metrics['steps'] / total):.0f} %)"]
    if metrics["frames"] != metrics["steps"]:
        parts.append(f"frames {short(metrics['frames'])}")
    parts.append(f"{short(metrics['steps_per_second'])} steps/s")
    mean = metrics["return_mean"]
    parts.append("return -" if mean is None else f"return {mean:.2f}")
    if "entropy" in metrics:
        parts.append(f"entropy {metrics['entropy']:.2f}")
    speed = metrics["steps_per_second"]
    if speed > 0 and metrics["steps"] < total:
        parts.append(f"{duration((total - metrics['steps']) / speed)} left")
    return " · ".join(parts)


def short(number: float) -> str:
    """1234567 as 1.23M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}" if abs(number) < 999.5 * size else f"{number / size:.0f}{letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """3700 as 1 h 02 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
