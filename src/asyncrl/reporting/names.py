"""Under which names metrics are shown."""

from collections.abc import Mapping
from typing import Any

from asyncrl.runtime.phases import PHASES

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
    **{f"share_{phase}": "speed" for phase in PHASES},
    "evaluation_return_mean": "evaluation",
    "evaluation_steps": "evaluation",
}
"""Where a metric stands; all others are under `learning`."""

VIDEO = "evaluation/episode"


def grouped(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those metrics of a line that have a value, by group and name such as `episodes/return_mean`; without `steps`."""
    return {
        f"{GROUPS.get(name, 'learning')}/{name}": float(value)
        for name, value in metrics.items()
        if value is not None and name != "steps"
    }


def parameter(name: str) -> str:
    """Under which name the histogram of a parameter tensor is shown: TensorBoard groups by what is before the slash."""
    return f"parameters/{name}"
