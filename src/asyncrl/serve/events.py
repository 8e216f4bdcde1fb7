"""Server-sent events from one sender to many listeners."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

KEEPALIVE_SECONDS = 1.0
"""A stream without events sends a comment this often, which fails, and so ends it, if its listener is gone."""


class Broadcast:
    """Keeps the newest event of each kind for each listener: a slow listener misses some and delays nobody.

    Attributes:
        changed: Notified when listeners come and go, when an event is sent, and when the broadcast is closed.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.listeners: list[dict[str, str]] = []  # the events that each has still to get, by kind
        self.latest: dict[str, str] = {}  # the events that a new listener gets first, by kind
        self.closed = False

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens."""
        return bool(self.listeners) and not self.closed

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        """Sends an event to all listeners, present and future."""
        event = f"event: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
        with self.changed:
            for waiting in (self.latest, *self.listeners):
                waiting[kind] = event
            self.changed.notify_all()

    def forget(self, *kinds: str) -> None:
        """Stops sending the latest events of these kinds to new listeners."""
        with self.changed:
            for kind in kinds:
                self.latest.pop(kind, None)

    def listen(self) -> Iterator[str]:
        """Yields events as text until the listener closes this generator or `close` is called."""
        waiting: dict[str, str] = {}
        with self.changed:
            waiting.update(self.latest)
            self.listeners.append(waiting)
            self.changed.notify_all()
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: waiting or self.closed, KEEPALIVE_SECONDS)
                    if self.closed:
                        return
                    text = "".join(waiting.values())
                    waiting.clear()
                yield text or ": keepalive\n\n"
        finally:
            with self.changed:
                self.listeners = [other for other in self.listeners if other is not waiting]
                self.changed.notify_all()

    def close(self) -> None:
        """Ends all streams."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
