"""What a run's workers waited for, and what would make it faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncrl.machine import Check
from asyncrl.run_folder import RunFolder

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


def advise(run: RunFolder) -> list[Check]:
    """Remarks on where the time of a run's workers went, in its last session.

    Raises:
        UserError: The folder is damaged.
    """
    summary = run.read_summary()
    return advise_on(summary if summary is not None else next(reversed(run.read_metrics()), {}))


def advise_on(metrics: Mapping[str, Any]) -> list[Check]:
    """The same for one line of metrics."""
    shares = _shares(metrics)
    if not shares:
        return [Check("workers' time", "note", "nothing is known of it yet: the run has not trained long enough")]
    environment = shares.pop("environment")
    if environment >= NEAR:
        text = f"{environment:.0%} in the environment: fine, training is not far from its speed"
    else:
        text = f"{environment:.0%} in the environment; the rest is training"
    checks = [Check("workers' time", "good", text)]
    for phase, share in shares.items():
        if environment < NEAR and share >= LARGE[phase]:
            checks.append(Check(phase, "note", f"{share:.0%} of the workers' time; {HINTS[phase]}"))
    return checks


def _shares(metrics: Mapping[str, Any]) -> dict[str, float]:
    prefix = "share_"
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
