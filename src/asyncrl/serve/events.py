"""Server-sent events, from one who tells to many who listen."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

STILL_HERE_SECONDS = 1.0
"""Between two signs of life of a stream that has nothing to say, which show that its listener is gone."""


class Broadcast:
    """Keeps the newest event of each kind for each listener: one that is slow misses some, and holds up nobody.

    Attributes:
        changed: Notified when listeners come and go, when something is told, and at the end.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.listeners: list[dict[str, str]] = []  # what each has still to hear, by kind
        self.known: dict[str, str] = {}  # what a new listener hears first, by kind
        self.closed = False

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self.listeners) and not self.closed

    def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Sends an event to all who listen."""
        event = f"event: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
        with self.changed:
            for waiting in (self.known, *self.listeners):
                waiting[kind] = event
            self.changed.notify_all()

    def forget(self, *kinds: str) -> None:
        """New listeners do not hear of these any more."""
        with self.changed:
            for kind in kinds:
                self.known.pop(kind, None)

    def listen(self) -> Iterator[str]:
        """Events as text, until the listener closes this or `close` is called."""
        waiting: dict[str, str] = {}
        with self.changed:
            waiting.update(self.known)
            self.listeners.append(waiting)
            self.changed.notify_all()
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: waiting or self.closed, STILL_HERE_SECONDS)
                    if self.closed:
                        return
                    text = "".join(waiting.values())
                    waiting.clear()
                yield text or ": still here\n\n"
        finally:
            with self.changed:
                self.listeners = [other for other in self.listeners if other is not waiting]
                self.changed.notify_all()

    def close(self) -> None:
        """Ends all streams."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
