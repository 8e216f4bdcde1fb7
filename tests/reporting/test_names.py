"""Under which names metrics are shown."""

from __future__ import annotations

from asyncrl.reporting.names import grouped
from asyncrl.runtime.shared import Counts
from asyncrl.runtime.telemetry import Telemetry
from asyncrl.types import Report


def test_where_time_goes_is_not_learning() -> None:
    telemetry = Telemetry(frames_per_step=1)
    telemetry.add(Report(0, 1, (), {"entropy": 1.0}, {"environment": 3.0, "learn": 1.0}))
    shown = grouped(telemetry.line(Counts(10, 1, 0), 0.1, workers=1))
    assert (shown["speed/share_environment"], shown["speed/share_learn"]) == (0.75, 0.25)
    assert {name for name in shown if name.startswith("learning/")} == {
        "learning/entropy",
        "learning/learning_rate",
        "learning/dropped_updates",
    }
