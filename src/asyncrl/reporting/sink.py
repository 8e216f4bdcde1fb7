"""The protocol of everything that takes lines of metrics."""

from typing import Any, Protocol


class Sink(Protocol):
    """Takes a line of metrics every few seconds."""

    def write(self, metrics: dict[str, Any]) -> None:
        """Takes one line."""
        ...

    def close(self) -> None:
        """Called once, when the run ends."""
        ...
