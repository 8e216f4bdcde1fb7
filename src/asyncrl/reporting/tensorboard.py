"""Event files for TensorBoard."""

import io
import os
import socket
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from asyncrl.reporting.appending import AppendedFile

GROUPS = {
    "return_mean": "episodes",
    "length_mean": "episodes",
    "episodes": "episodes",
    "steps_per_second": "speed",
    "wall_seconds": "speed",
    "updates": "speed",
    "frames": "speed",
    "workers": "speed",
    "restarts": "speed",
    "evaluation_return_mean": "evaluation",
    "evaluation_steps": "evaluation",
}
"""Where a metric stands in TensorBoard; all others are under `learning`."""


class TensorBoard:
    """Every metric as a scalar over steps.

    TensorBoard's own writer has a thread that dies when the disk is full, and then makes its caller wait for ever.

    Args:
        folder: Of the event files; each session of a run has its own.
        steps: That earlier sessions did; TensorBoard forgets what they wrote beyond.
    """

    name = "TensorBoard's file"

    def __init__(self, folder: Path, steps: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        now = time.time()
        self.file = AppendedFile(folder / f"events.out.tfevents.{now:.3f}.{socket.gethostname()}.{os.getpid()}")
        self._add(Event(wall_time=now, file_version="brain.Event:2"))
        if steps:
            self._add(Event(wall_time=now, step=steps + 1, session_log=SessionLog(status=SessionLog.START)))

    def write(self, metrics: dict[str, Any]) -> None:
        """Adds one point to each curve."""
        values = [
            Summary.Value(tag=f"{GROUPS.get(name, 'learning')}/{name}", simple_value=float(value))
            for name, value in metrics.items()
            if value is not None and name != "steps"
        ]
        self._add(Event(step=metrics["steps"], wall_time=time.time(), summary=Summary(value=values)))

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    def _add(self, event: Event) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self.file.append(record.getvalue())
