"""A file that records are appended to, which stays readable when the disk fills up."""

from __future__ import annotations

import errno
import os
from collections import deque
from contextlib import suppress
from io import FileIO
from pathlib import Path

MOST_WAITING = 10_000
"""Records kept in memory while the disk is full; beyond that the oldest are dropped."""


class AppendedFile:
    """Appends records whole or not at all. Records that do not fit on the disk are kept and written later.

    Args:
        path: The file; it is created with the first record if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: FileIO | None = None
        self.waiting: deque[bytes] = deque(maxlen=MOST_WAITING)

    def append(self, record: bytes) -> None:
        """Appends a record, after those that were kept.

        Raises:
            OSError: The record could not be written. It is kept, and no part of it is in the file.
        """
        self.waiting.append(record)
        self.flush()

    def flush(self) -> None:
        """Writes the records that were kept.

        Raises:
            OSError: They still cannot be written.
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
        """Closes the file; records that still cannot be written are lost."""
        with suppress(OSError):
            if self.waiting:
                self.flush()
        if self.file is not None:
            self.file.close()
