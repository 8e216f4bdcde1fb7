"""A picture of how the cost of training grows with a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from asyncrl.analysis.picture import COLOURS, write_picture
from asyncrl.metrics import STEPS_PER_SECOND, lookup


def plot_growth(name: str, results: Sequence[Mapping[str, Any]], output: Path) -> None:
    """Draws speed, CPU time per step and phase, and memory over the values of a setting.

    Args:
        name: Name of the setting.
        results: Results of `asyncrl bench`, one for each value.
        output: Picture file; its suffix chooses the format.

    Raises:
        UserError: The picture cannot be written.
    """
    figure = Figure(figsize=(12, 3.4), dpi=120, layout="constrained")
    speed, time, memory = figure.subplots(1, 3)
    values = [str(result["value"]) for result in results]
    for key, label, colour in (("raw", "environments alone", "#999999"), ("training", "training", COLOURS[0])):
        rates = [result[f"{key}_{STEPS_PER_SECOND}"] for result in results]
        speed.plot(values, rates, marker="o", color=colour, label=label)
    speed.set_ylim(bottom=0)
    speed.yaxis.set_major_formatter(EngFormatter(sep=""))
    speed.set_title(lookup(STEPS_PER_SECOND).label, fontsize=10)
    speed.legend(frameon=False, fontsize=8)

    below = [0.0] * len(values)
    for phase, colour in zip(results[0]["cpu_microseconds_per_step"], COLOURS, strict=False):
        heights = [result["cpu_microseconds_per_step"][phase] for result in results]
        time.bar(values, heights, bottom=below, color=colour, label=phase, width=0.6)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    time.set_title("CPU time per step, µs", fontsize=10)
    time.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)

    for key, label, colour in (
        ("total_megabytes", "whole run", COLOURS[1]),
        ("private_megabytes_of_a_worker", "a worker's own", COLOURS[0]),
    ):
        memory.plot(values, [result[key] for result in results], marker="o", color=colour, label=label)
    memory.set_ylim(bottom=0)
    memory.set_title("memory, MB", fontsize=10)
    memory.legend(frameon=False, fontsize=8)
    for axes in (speed, time, memory):
        axes.set_xlabel(name.replace("_", " "))
        axes.spines[["top", "right"]].set_visible(False)
    first = results[0]
    figure.suptitle(f"{first['environment']}, {first['algorithm']}", fontsize=10)
    write_picture(figure, output)
