"""Tells people what cannot be written, and when it can be written again."""

from __future__ import annotations

import time
from collections.abc import Callable

Notify = Callable[[str], None]
"""Shows a message on the terminal and writes it to the run's log."""

RETRY_SECONDS = 10.0
"""Time after which what could not be written is tried again."""
REMIND_SECONDS = 600.0
"""Time after which the message that something cannot be written is repeated."""


def reason_of(error: OSError | None) -> str:
    """Returns the system's description of an error."""
    return error.strerror or str(error) if error is not None else "for an unknown reason"


class DiskWatch:
    """Notifies people when writing fails, every ten minutes while it does, and when it works again."""

    def __init__(self, notify: Notify) -> None:
        self.notify = notify
        self.notified_at: dict[str, float] = {}

    def failed(self, what: str, error: OSError) -> None:
        """Records that `what` could not be written."""
        now = time.monotonic()
        if now - self.notified_at.get(what, -REMIND_SECONDS) >= REMIND_SECONDS:
            self.notified_at[what] = now
            self.notify(
                f"warning: {what} cannot be written ({reason_of(error)}): training goes on, and it is tried again"
            )

    def worked(self, what: str) -> None:
        """Records that `what` was written."""
        if self.notified_at.pop(what, None) is not None:
            self.notify(f"{what} can be written again")
