"""Rules about speed: where the time of the workers goes, and what would make a run faster."""

from __future__ import annotations

from collections.abc import Iterator

from asyncrl import metrics
from asyncrl.analysis.history import History
from asyncrl.analysis.rules.changes import MORE_ENVIRONMENTS
from asyncrl.check import Advice, Check
from asyncrl.config import available_cores

TIME = "workers' time"
NEAR = 0.6
"""From this share of time in the environment on, training is about as fast as the environment allows."""
LARGE = {"act": 0.3, "learn": 0.45, "update": 0.12, "other": 0.15}
"""A phase gets a hint if it takes at least this share of the time."""
HINTS = {
    "act": "one forward pass chooses the actions of all environments of a worker",
    "learn": "this is the network's arithmetic",
    "update": "each update changes all parameters",
    "other": "each step has a cost that does not depend on the number of environments",
}
"""What takes the time in a phase."""
REMEDIES = {
    "act": (MORE_ENVIRONMENTS,),
    "learn": (Advice("torso", "lower", "a smaller network, or a --torso with fewer layers"),),
    "update": (Advice("rollout_length", "higher", "a longer --rollout-length"), MORE_ENVIRONMENTS),
    "other": (MORE_ENVIRONMENTS,),
}
REPEATED = {"learn": ("epochs", "fewer --epochs"), "update": ("minibatches", "fewer --minibatches")}
"""Of methods that learn several times from a rollout: the setting that says how often, and the remedy."""
SLOWER = 3.0
"""A run has slowed down if it was this many times as fast before. The speed of shared machines drifts by a factor of
two within an hour."""
SPEED_SECONDS = 60.0
"""Shorter runs are not judged, because they are slow at the start."""


def where_time_goes(history: History) -> Iterator[Check]:
    """The share of the workers' time that each phase took in the last session."""
    shares = metrics.shares(history.summary or {})
    shares = shares or next((found for line in reversed(history.lines) if (found := metrics.shares(line))), {})
    if "environment" not in shares:
        yield Check(TIME, "note", "not measured yet: the run has not trained long enough")
        return
    environment = shares.pop("environment")
    if environment >= NEAR:
        text = f"{environment:.0%} in the environment: fine, training is about as fast as the environment allows"
    else:
        text = f"{environment:.0%} in the environment; the rest is training"
    yield Check(TIME, "good", text)
    if history.number("actors", 0):
        return  # actors and learners wait for each other, and waiting counts as other
    for phase, share in shares.items():
        if environment < NEAR and share >= LARGE.get(phase, 1.0):
            text = f"{share:.0%} of the workers' time: {HINTS[phase]}"
            yield Check(phase, "note", text, (*_less_often(history, phase), *REMEDIES[phase]))


def _less_often(history: History, phase: str) -> Iterator[Advice]:
    """The advice to learn less often from a rollout, where a method learns from it several times."""
    if phase in REPEATED:
        setting, text = REPEATED[phase]
        if history.number(setting, 1) > 1:
            yield Advice(setting, "lower", text)


def more_workers_than_cores(history: History) -> Iterator[Check]:
    """There are more workers, each a process with one thread, than cores to run them."""
    workers, cores = int(history.number("workers", 1)), available_cores()
    if workers <= cores or history.setting("runtime") != "processes":
        return
    text = (
        f"{workers} of them share the {cores} core{'s' if cores > 1 else ''} of this machine: they take turns, and the "
        "parameters change while they wait"
    )
    yield Check("workers", "note", text, (Advice("workers", "lower", f"--workers {cores}"), MORE_ENVIRONMENTS))


def slowed_down(history: History) -> Iterator[Check]:
    """The run did far fewer steps per second at the end than in its first half."""
    speed = history.series(metrics.STEPS_PER_SECOND)
    first, last = speed.median(0.1, 0.5), speed.median(0.8, 1.0)
    if float(history.last[metrics.WALL_SECONDS]) < SPEED_SECONDS or not first > SLOWER * last:
        return
    text = (
        f"fell from {first:,.0f} to {last:,.0f} steps per second: other programs used the cores, memory ran "
        "out, or the environment is slower in the states that the agent now visits"
    )
    yield Check("speed", "note", text)


def restarts(history: History) -> Iterator[Check]:
    """Workers died or hung, and were replaced."""
    count = history.count(metrics.RESTARTS)
    if count:
        times = "once" if count == 1 else f"{count} times"
        yield Check("restarts", "note", f"workers were replaced {times}: {history.run.log_file} says why")
