"""A run as trackers see it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asyncrl.errors import UserError
from asyncrl.files import write_text
from asyncrl.run_folder import RunFolder


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker needs to know about a run."""

    folder: RunFolder
    project: str  # environment and algorithm
    settings: Mapping[str, Any]  # of the experiment, as plain data
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.folder.path.resolve().name

    def known_as(self, tracker: str) -> str | None:
        """The identifier that a tracker gave the run in an earlier session; None if there was none.

        Raises:
            UserError: The file with the identifiers is damaged.
        """
        return self._names().get(tracker)

    def remember(self, tracker: str, name: str) -> None:
        """Saves the identifier that a tracker gave the run."""
        with self.lock:  # each tracker has a thread of its own
            write_text(self.folder.trackers_file, json.dumps({**self._names(), tracker: name}, indent=2) + "\n")

    def _names(self) -> dict[str, str]:
        file = self.folder.trackers_file
        try:
            names = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{file} cannot be read ({type(error).__name__})") from error
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise UserError(f"{file} should hold a name for each tracker: delete it to start new runs at the trackers")
        return names
