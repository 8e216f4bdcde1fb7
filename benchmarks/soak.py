"""Trains for a given time and records the memory of every process and the size of every file of the run.

python benchmarks/soak.py MINUTES OUTPUT.csv ENV [options of 'asyncrl train']
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil
from rows import write_rows

EVERY = 20.0
"""Seconds between two measurements."""
WARM_UP = 0.2
"""Share of the time at the start that is left out, while libraries are loaded and buffers grow."""


def main() -> int:
    minutes, output, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        command = [sys.executable, "-m", "asyncrl", "train", *arguments, "--steps", "100G", "--until-return", "None"]
        process = subprocess.Popen([*command, "--run-dir", str(run)], stdout=subprocess.DEVNULL)
        rows = record(process, run, 60 * float(minutes))
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        print((run / "log.txt").read_text())
        print(f"{sum(1 for _ in (run / 'metrics.jsonl').open(encoding='utf-8')):,} lines of metrics, exit code {code}")
    write_rows(Path(output), rows)
    for what, (first, last, slope) in trends(rows).items():
        print(f"{what:<24}{first:9.2f} MB after the warm-up {last:9.2f} MB at the end {slope:+8.2f} MB per hour")
    return code - 143


def record(process: subprocess.Popen[bytes], run: Path, seconds: float) -> list[dict[str, object]]:
    """Memory and file sizes over time: rows of minutes, name and megabytes."""
    rows: list[dict[str, object]] = []
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        time.sleep(EVERY)
        if process.poll() is not None:
            raise SystemExit(f"the training ended with exit code {process.returncode}")
        now = round((time.monotonic() - started) / 60, 2)
        for what, size in (*memory(process.pid), *files(run)):
            rows.append({"minutes": now, "what": what, "megabytes": round(size / 2**20, 3)})
    return rows


def memory(leader: int) -> list[tuple[str, int]]:
    """Resident memory of each process of the run."""
    everyone = [psutil.Process(leader), *psutil.Process(leader).children(recursive=True)]
    found, count = [], defaultdict[str, int](int)
    for process in sorted(everyone, key=lambda process: process.pid):
        command = " ".join(process.cmdline())
        kind = "supervisor" if process.pid == leader else "fork server" if "forkserver" in command else "tracker"
        if kind == "fork server" and process.ppid() != leader:
            kind = f"worker {count['worker']}"
            count["worker"] += 1
        found.append((kind, process.memory_info().rss))
    return found


def files(run: Path) -> list[tuple[str, int]]:
    """Bytes of the run's files, by top-level folder or file."""
    sizes = defaultdict[str, int](int)
    for path in run.rglob("*"):
        try:
            if path.is_file():
                sizes[path.relative_to(run).parts[0]] += path.stat().st_size
        except FileNotFoundError:  # a checkpoint that has just been replaced
            continue
    return [(name, size) for name, size in sorted(sizes.items()) if size > 1000]


def trends(rows: list[dict[str, object]]) -> dict[str, tuple[float, float, float]]:
    """For each series, its value after the warm-up, its value at the end, and its slope in megabytes per hour."""
    series = defaultdict[str, list[tuple[float, float]]](list)
    end = max(float(str(row["minutes"])) for row in rows)
    for row in rows:
        minute = float(str(row["minutes"]))
        if minute >= WARM_UP * end:
            series[str(row["what"])].append((minute / 60, float(str(row["megabytes"]))))
    found = {}
    for what, points in series.items():
        hours, sizes = np.array(points).T
        slope = float(np.polyfit(hours, sizes, 1)[0]) if len(points) > 1 else 0.0
        found[what] = (float(sizes[0]), float(sizes[-1]), slope)
    return found


if __name__ == "__main__":
    sys.exit(main())
