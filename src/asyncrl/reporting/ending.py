"""How a run ended, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncrl import metrics
from asyncrl.config import Experiment


def end_of(summary: Mapping[str, Any], experiment: Experiment) -> str:
    """Says why a run ended, and after how many steps and seconds."""
    match summary["ended_by"]:
        case "steps":
            reason = "done"
        case "goal":
            reason = f"reached the goal of {experiment.until_return:g}"
        case "time":
            reason = f"its {experiment.until_seconds:g} seconds are over"
        case "callback":
            reason = "ended by a callback"
        case name:
            reason = f"stopped by {name} with a checkpoint"
    return f"{reason} after {summary[metrics.STEPS]:,} steps and {summary[metrics.WALL_SECONDS]:.1f} s"


def return_of(summary: Mapping[str, Any]) -> str:
    """Says which mean return a run reached: in the evaluation of its agent, else in its last training episodes."""
    if "evaluation_episodes" in summary:
        mean, episodes = summary[metrics.EVALUATION_RETURN_MEAN], summary["evaluation_episodes"]
        return f"mean return of {episodes} evaluation episodes: {mean:.2f}"
    mean = summary[metrics.RETURN_MEAN]
    return "no episode was finished" if mean is None else f"{metrics.lookup(metrics.RETURN_MEAN).title}: {mean:.2f}"
