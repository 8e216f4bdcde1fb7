"""Event files for TensorBoard."""

import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

GROUPS = {
    "return_mean": "episodes",
    "length_mean": "episodes",
    "episodes": "episodes",
    "steps_per_second": "speed",
    "wall_seconds": "speed",
    "updates": "speed",
    "frames": "speed",
}
"""Where a metric stands in TensorBoard; all others are under `learning`."""


class TensorBoard:
    """Every metric as a scalar over steps."""

    def __init__(self, folder: Path) -> None:
        self.writer = EventFileWriter(str(folder))

    def write(self, metrics: dict[str, Any]) -> None:
        """Adds one point to each curve."""
        values = [
            Summary.Value(tag=f"{GROUPS.get(name, 'learning')}/{name}", simple_value=float(value))
            for name, value in metrics.items()
            if value is not None and name != "steps"
        ]
        event = Event(step=metrics["steps"], wall_time=time.time(), summary=Summary(value=values))
        self.writer.add_event(event)

    def close(self) -> None:
        """Writes what is left."""
        self.writer.close()
