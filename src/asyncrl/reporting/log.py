"""log.txt: what happened to a run, for whoever looks at it on Monday."""

import time
from contextlib import suppress
from pathlib import Path

from asyncrl.reporting.appending import AppendedFile


class RunLog:
    """Lines with the time before them."""

    def __init__(self, path: Path) -> None:
        self.file = AppendedFile(path)

    def tell(self, text: str) -> None:
        """Adds a message; on a full disk it waits for the next one."""
        with suppress(OSError):
            self.file.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n".encode())

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
