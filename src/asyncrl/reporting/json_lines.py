"""metrics.jsonl: one JSON object a line."""

import json
from pathlib import Path
from typing import Any

from asyncrl.reporting.appending import AppendedFile


class JsonLines:
    """Appends to a file, so that a resumed run goes on where it stopped."""

    def __init__(self, path: Path) -> None:
        self.name, self.file = path.name, AppendedFile(path)

    def write(self, metrics: dict[str, Any]) -> None:
        """Writes one line, for readers at once."""
        self.file.append(json.dumps(metrics).encode() + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
