"""What a run's workers waited for, and what would make it faster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from asyncrl.analysis.history import History, is_number
from asyncrl.config import available_cores
from asyncrl.machine import Check

TIME = "workers' time"
NEAR = 0.6
"""Share of time in the environment from which on training is near the environment's own speed."""
LARGE = {"act": 0.3, "learn": 0.45, "update": 0.12, "other": 0.15}
"""Shares from which on something can be said about a phase."""
HINTS = {
    "act": "more --envs-per-worker let one forward pass serve more of them",
    "learn": "this is the network's arithmetic: a smaller network, or a --torso with fewer layers, takes less",
    "update": "longer rollouts (--rollout-length) or more --envs-per-worker make fewer updates",
    "other": "more --envs-per-worker spread the cost of a step over more environments",
}
SLOWER = 3.0
"""Times: shared machines drift by a factor of two within an hour."""
SPEED_SECONDS = 60.0
"""Speeds of shorter runs are their start's."""


def where_time_goes(history: History) -> Iterator[Check]:
    """By phase, in the run's last session."""
    shares = _shares(history.summary or {})
    shares = shares or next((found for line in reversed(history.lines) if (found := _shares(line))), {})
    if "environment" not in shares:
        yield Check(TIME, "note", "nothing is known of it yet: the run has not trained long enough")
        return
    environment = shares.pop("environment")
    if environment >= NEAR:
        text = f"{environment:.0%} in the environment: fine, training is not far from its speed"
    else:
        text = f"{environment:.0%} in the environment; the rest is training"
    yield Check(TIME, "good", text)
    for phase, share in shares.items():
        if environment < NEAR and share >= LARGE.get(phase, 1.0):
            yield Check(phase, "note", f"{share:.0%} of the workers' time; {HINTS[phase]}")


def more_workers_than_cores(history: History) -> Iterator[Check]:
    """Each worker is a process of one thread; more of them than cores take turns."""
    workers, cores = int(history.number("workers", 1)), available_cores()
    if workers <= cores or history.setting("runtime") == "serial":
        return
    text = (
        f"{workers} of them, each with one thread, share the {cores} cores of this machine: they take turns, and the "
        f"parameters change while they wait. --workers {cores} with more --envs-per-worker does more steps a second"
    )
    yield Check("workers", "note", text)


def slowed_down(history: History) -> Iterator[Check]:
    """Far fewer steps a second at the end than in the first half."""
    speed = history.series("steps_per_second")
    first, last = speed.median(0.1, 0.5), speed.median(0.8, 1.0)
    if float(history.last["wall_seconds"]) < SPEED_SECONDS or not first > SLOWER * last:
        return
    text = (
        f"fell from {first:,.0f} to {last:,.0f} steps a second: other programs had the cores, memory ran out, or the "
        "environment is slower where the agent now is"
    )
    yield Check("speed", "note", text)


def restarts(history: History) -> Iterator[Check]:
    """Workers that died or hung and were replaced."""
    count = history.count("restarts")
    if count:
        times = "once" if count == 1 else f"{count} times"
        yield Check("restarts", "note", f"workers were replaced {times}: {history.run.log_file} says why")


def _shares(metrics: Mapping[str, Any]) -> dict[str, float]:
    prefix = "share_"
    return {
        name.removeprefix(prefix): value
        for name, value in metrics.items()
        if name.startswith(prefix) and is_number(value)
    }
