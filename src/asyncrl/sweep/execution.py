"""Makes the runs of a sweep, each in its own process. Runs that are done are not repeated."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asyncrl.run_folder import RunFolder
from asyncrl.signals import collected_signals
from asyncrl.sweep.planned_run import PlannedRun, Process
from asyncrl.sweep.specification import Sweep, Trial


@dataclass(frozen=True)
class Ended:
    """A trial that has ended."""

    trial: Trial
    run: RunFolder
    error: str = ""  # one line; empty if the trial succeeded


def run_sweep(folder: Path, sweep: Sweep, parallel: int, report: Callable[[Ended], None]) -> bool:
    """Makes all runs that are not done yet, each in its own process.

    Args:
        folder: Folder of the sweep.
        sweep: Description of the sweep.
        parallel: Number of runs at the same time.
        report: Called with each trial that ends.

    Returns:
        Whether all runs ended; false if Ctrl-C or SIGTERM stopped the sweep, with a checkpoint of each run.
    """
    planned = [(trial, trial.plan(folder, sweep)) for trial in sweep.trials()]
    waiting = [(trial, run) for trial, run in planned if not run.is_done]
    running: dict[Process, tuple[Trial, PlannedRun, list[list[str]]]] = {}
    stopped: set[Process] = set()
    with collected_signals() as received:
        try:
            while running or (waiting and not received):
                while waiting and len(running) < parallel and not received:
                    trial, run = waiting.pop(0)
                    first, *rest = run.commands()
                    running[run.start(first)] = trial, run, rest
                time.sleep(0.05)
                if received:
                    for process in running.keys() - stopped:
                        process.terminate()  # once: a second signal would end it without a checkpoint
                        stopped.add(process)
                for process in [process for process in running if process.poll() is not None]:
                    trial, run, rest = running.pop(process)
                    if process.returncode == 0 and rest and not received:
                        running[run.start(rest[0])] = trial, run, rest[1:]
                    elif not received:
                        report(Ended(trial, run.run, run.error(process)))
        finally:
            for process in running:
                process.kill()
        return not received
