"""The protocol of everything that takes lines of metrics."""

from typing import Any, Protocol


class Sink(Protocol):
    """Takes a line of metrics every few seconds."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def write(self, metrics: dict[str, Any]) -> None:
        """Takes one line.

        Raises:
            OSError: It could not be written; training goes on, and the next line is tried.
        """
        ...

    def close(self) -> None:
        """Called once, when the run ends."""
        ...
