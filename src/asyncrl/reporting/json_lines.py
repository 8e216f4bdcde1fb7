"""metrics.jsonl: one JSON object a line."""

import json
from pathlib import Path
from typing import Any


class JsonLines:
    """Appends to a file, so that a resumed run goes on where it stopped."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a")

    def write(self, metrics: dict[str, Any]) -> None:
        """Writes one line, for readers at once."""
        self.file.write(json.dumps(metrics) + "\n")
        self.file.flush()

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
