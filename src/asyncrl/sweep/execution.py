"""Makes the runs of a sweep, each in its own process. Runs that are done are not repeated."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncrl.run_folder import RunFolder
from asyncrl.signals import collected_signals
from asyncrl.sweep.results import is_done
from asyncrl.sweep.specification import Sweep, Trial, run_of

LOGS = "logs"


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
    (folder / LOGS).mkdir(exist_ok=True)
    waiting = [trial for trial in sweep.trials() if not is_done(folder, trial, sweep)]
    running: dict[subprocess.Popen[bytes], tuple[Trial, list[list[str]]]] = {}
    stopped: set[subprocess.Popen[bytes]] = set()
    with collected_signals() as received:
        try:
            while running or (waiting and not received):
                while waiting and len(running) < parallel and not received:
                    trial = waiting.pop(0)
                    first, *rest = _commands(folder, trial, sweep)
                    running[_start(folder, trial, first)] = trial, rest
                time.sleep(0.05)
                if received:
                    for process in running.keys() - stopped:
                        process.terminate()  # once: a second signal would end it without a checkpoint
                        stopped.add(process)
                for process in [process for process in running if process.poll() is not None]:
                    trial, rest = running.pop(process)
                    if process.returncode == 0 and rest and not received:
                        running[_start(folder, trial, rest[0])] = trial, rest[1:]
                    elif not received:
                        report(_ended(folder, trial, process))
        finally:
            for process in running:
                process.kill()
        return not received


def _commands(folder: Path, trial: Trial, sweep: Sweep) -> Iterator[list[str]]:
    """The commands that a trial still needs: training, from its checkpoint if it has one, and evaluation."""
    run = run_of(folder, trial)
    path, summary = str(run.path), run.read_summary()
    imports = [word for module in trial.modules(sweep) for word in ("--import", module)]
    if summary is None or summary["status"] != "done":
        if any(run.checkpoints.glob("step-*")):
            yield ["train", "--resume", "--run-dir", path, *imports]
        else:
            again = ["--overwrite"] if run.experiment_file.exists() else []
            yield ["train", *trial.arguments(sweep), "--run-dir", path, *again]
    if sweep.episodes:
        greedy = ["--deterministic"] if sweep.deterministic else []
        yield ["eval", path, "--episodes", str(sweep.episodes), "--save", *greedy, *imports]


def _start(folder: Path, trial: Trial, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    # In a session of its own, the run does not receive Ctrl-C from the terminal. The sweep does, and stops its runs.
    command = [sys.executable, "-m", "asyncrl", *arguments]
    with _log(folder, trial).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def _ended(folder: Path, trial: Trial, process: subprocess.Popen[bytes]) -> Ended:
    error = ""
    if process.returncode != 0:
        lines = [line for line in _log(folder, trial).read_text(errors="replace").splitlines() if line.strip()]
        error = next((line for line in reversed(lines) if "Error" in line or line.startswith("error")), "")
        error = error or (lines[-1] if lines else f"exit code {process.returncode}")
    return Ended(trial, run_of(folder, trial), error)


def _log(folder: Path, trial: Trial) -> Path:
    return folder / LOGS / f"{trial.name}.log"
