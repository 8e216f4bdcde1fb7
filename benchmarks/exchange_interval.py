"""Draws how often the nodes of a cluster can trade, from measured parts, over the number of nodes.

    python benchmarks/exchange_interval.py [--costs benchmarks/results/exchange_cost.csv] [--out benchmarks/results]

A node pushes at most every I seconds. The server's connection of C bytes/s each way carries N pushes of 4 P bytes, and
a shard answers a push of P/S parameters in its share of the measured time m. So the seconds between two exchanges of a
node are max(I, 4 P N / C, m N / S). Workers never wait: their steps per second do not depend on this.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from child import run_script
from rows import read_rows

PARAMETERS = {"Atari, 2013": 678_000, "Atari, 2015": 1_690_000}
CONNECTIONS = {"1 Gbit/s": 110e6, "10 Gbit/s": 1_100e6}
"""Bytes per second each way that a connection carries, with a tenth for its protocols."""
INTERVALS = (0.2, 1.0)
SHARDS = (1, 4)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--costs", type=Path, default=Path("benchmarks/results/exchange_cost.csv"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args(arguments)
    rows = [row for row in read_rows(given.costs) if row["way"] == "Ray"]
    costs = {row["parameters"]: float(row["milliseconds"]) / 1000 for row in rows}
    nodes = np.arange(1, 101)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, (name, size) in zip(axes, PARAMETERS.items(), strict=True):
        for colour, (connection, bytes_) in zip(("tab:orange", "tab:blue"), CONNECTIONS.items(), strict=True):
            for style, shards in zip(("-", ":"), SHARDS, strict=True):
                slowest = np.maximum(4 * size * nodes / bytes_, costs[name] * nodes / shards)
                label = f"{connection}, {shards} shard{'s' if shards > 1 else ''}"
                axis.plot(nodes, np.maximum(INTERVALS[0], slowest), style, color=colour, label=label, linewidth=2)
        axis.axhline(INTERVALS[1], color="grey", linewidth=0.8)
        axis.set(title=f"network of {name[-4:]}: {4 * size / 1e6:.1f} MB a push", xlabel="nodes", yscale="log")
    axes[0].set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"], minor=False)
    axes[0].set_yticks([], minor=True)
    axes[0].set_ylabel("seconds between exchanges of a node")
    axes[0].legend()
    axes[1].text(55, INTERVALS[1] * 1.04, "--exchange-seconds 1", color="grey")
    figure.savefig(given.out / "exchange_interval.png", dpi=110)
    for name, size in PARAMETERS.items():
        for connection, bytes_ in CONNECTIONS.items():
            for interval in INTERVALS:
                one, more = (int(interval / max(4 * size / bytes_, costs[name] / shards)) for shards in SHARDS)
                print(f"{name}, {connection}, {interval:g} s: full at {one} nodes, with {SHARDS[1]} shards at {more}")


if __name__ == "__main__":
    run_script(main)
