"""Files of JSON lines: one object per line, such as metrics.jsonl."""

import json
from pathlib import Path
from typing import Any

from asyncrl.reporting.appending import AppendedFile


class JsonLines:
    """Appends lines to a file; a resumed run continues the file of the session before."""

    def __init__(self, path: Path) -> None:
        self.name, self.file = path.name, AppendedFile(path)

    def write(self, line: dict[str, Any]) -> None:
        """Writes one line, which readers see at once."""
        self.file.append(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
