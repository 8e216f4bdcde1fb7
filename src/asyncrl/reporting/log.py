"""log.txt: the messages of a run, for people who look at it later."""

import time
from contextlib import suppress
from pathlib import Path

from asyncrl.reporting.appending import AppendedFile


class RunLog:
    """Messages with the time they were written."""

    def __init__(self, path: Path) -> None:
        self.file = AppendedFile(path)

    def tell(self, text: str) -> None:
        """Appends a message. If the disk is full, the message is written together with a later one."""
        with suppress(OSError):
            self.file.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n".encode())

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
