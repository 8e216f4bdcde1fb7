"""A file that whole records are added to, also on a disk that fills up."""

from __future__ import annotations

import errno
import os
from collections import deque
from contextlib import suppress
from io import FileIO
from pathlib import Path

MOST_WAITING = 10_000


class AppendedFile:
    """Records go to the file whole or not at all; those that find no room wait for the next time.

    Args:
        path: The file; it is made with the first record if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: FileIO | None = None
        self.waiting: deque[bytes] = deque(maxlen=MOST_WAITING)

    def append(self, record: bytes) -> None:
        """Adds a record, after those that wait.

        Raises:
            OSError: There is no room; it waits, and nothing of it is in the file.
        """
        self.waiting.append(record)
        self.flush()

    def flush(self) -> None:
        """Writes the records that wait.

        Raises:
            OSError: There is still no room.
        """
        if self.file is None:
            self.file = self.path.open("ab", buffering=0)
        while self.waiting:
            end = self.file.seek(0, os.SEEK_END)
            try:
                whole = self.file.write(self.waiting[0]) == len(self.waiting[0])
                if not whole:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                self.file.truncate(end)
                raise
            self.waiting.popleft()

    def close(self) -> None:
        """Closes the file; what still finds no room is lost."""
        with suppress(OSError):
            if self.waiting:
                self.flush()
        if self.file is not None:
            self.file.close()
