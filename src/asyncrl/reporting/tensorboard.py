"""Event files for TensorBoard."""

import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from asyncrl import metrics
from asyncrl.reporting import names
from asyncrl.reporting.appending import AppendedFile
from asyncrl.reporting.histogram import Histogram
from asyncrl.types import Video

RGB = 3


class TensorBoard:
    """Writes metrics as scalars over steps, histograms of parameters, and episodes as animated images.

    TensorBoard's own writer is not used: its thread dies when the disk is full, and the next call then blocks for ever.

    Args:
        folder: Folder of the event files; each session of a run writes a file of its own.
        steps: Steps of the earlier sessions. TensorBoard discards what they wrote for later steps.
    """

    name = "TensorBoard's file"

    def __init__(self, folder: Path, steps: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        now = time.time()
        self.file = AppendedFile(folder / f"events.out.tfevents.{now:.3f}.{socket.gethostname()}.{os.getpid()}")
        self._add(Event(wall_time=now, file_version="brain.Event:2"))
        if steps:
            self._add(Event(wall_time=now, step=steps + 1, session_log=SessionLog(status=SessionLog.START)))

    def write(self, line: dict[str, Any]) -> None:
        """Adds one point to each curve."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in names.grouped(line).items()]
        self._add_values(values, line[metrics.STEPS])

    def write_histograms(self, histograms: Mapping[str, Histogram], steps: int) -> None:
        """Adds a histogram for each parameter tensor."""
        values = [
            Summary.Value(tag=names.parameter(name), histo=_proto(histogram)) for name, histogram in histograms.items()
        ]
        self._add_values(values, steps)

    def write_video(self, video: Video, steps: int) -> None:
        """Adds an episode as an animated gif, which TensorBoard plays."""
        image = Summary.Image(width=video.width, height=video.height, colorspace=RGB, encoded_image_string=video.gif)
        self._add_values([Summary.Value(tag=names.VIDEO, image=image)], steps)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    def _add_values(self, values: Sequence[Summary.Value], steps: int) -> None:
        self._add(Event(step=steps, wall_time=time.time(), summary=Summary(value=values)))

    def _add(self, event: Event) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self.file.append(record.getvalue())


def _proto(histogram: Histogram) -> HistogramProto:
    return HistogramProto(
        min=histogram.minimum,
        max=histogram.maximum,
        num=float(histogram.counts.sum()),
        sum=histogram.total,
        sum_squares=histogram.total_of_squares,
        bucket_limit=histogram.edges[1:].tolist(),  # each bin's upper edge
        bucket=histogram.counts.astype(float).tolist(),
    )
