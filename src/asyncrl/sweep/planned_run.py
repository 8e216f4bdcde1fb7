"""A run among many, which child processes make: `asyncrl train`, and then `asyncrl eval` if it is to be evaluated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncrl.importing import modules_in
from asyncrl.run_folder import RunFolder
from asyncrl.sweep.folder import LOGS, RUNS

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class PlannedRun:
    """A run that is done, has started or is still to come."""

    folder: Path  # of all the runs
    name: str
    arguments: tuple[str, ...]  # of `asyncrl train`
    episodes: int  # in the evaluation of the trained agent; 0: no evaluation
    deterministic: bool  # whether that evaluation takes the best known actions

    @property
    def run(self) -> RunFolder:
        """The folder of the run, whether it has started or not."""
        return RunFolder(self.folder / RUNS / self.name)

    @property
    def log(self) -> Path:
        """The output of the run's last process."""
        return self.folder / LOGS / f"{self.name}.log"

    @property
    def modules(self) -> list[str]:
        """Modules that the arguments name, as in `--algorithm my_module:MyAlgorithm`; found without importing them.

        Every word with a colon counts, because a folder from elsewhere must not import what the user did not name.
        """
        return sorted(modules_in(_value(word) for word in self.arguments))

    @property
    def is_done(self) -> bool:
        """Whether the agent is trained, and evaluated if that is asked for."""
        summary = self.run.read_summary()
        trained = summary is not None and summary["status"] == "done"
        return trained and (self.episodes == 0 or self.run.evaluation_file.exists())

    def commands(self) -> Iterator[list[str]]:
        """The commands that the run still needs: training, from its checkpoint if it has one, and evaluation."""
        path, summary = str(self.run.path), self.run.read_summary()
        imports = [word for module in self.modules for word in ("--import", module)]
        if summary is None or summary["status"] != "done":
            if any(self.run.checkpoints.glob("step-*")):
                yield ["train", "--resume", "--run-dir", path, *imports]
            else:
                again = ["--overwrite"] if self.run.experiment_file.exists() else []
                yield ["train", *self.arguments, "--run-dir", path, *again]
        if self.episodes:
            greedy = ["--deterministic"] if self.deterministic else []
            yield ["eval", path, "--episodes", str(self.episodes), "--save", *greedy, *imports]

    def start(self, command: Sequence[str]) -> Process:
        """Starts one of the commands in a process of its own."""
        # In a session of its own, the run does not receive Ctrl-C from the terminal. Its parent does, and stops it.
        words = [sys.executable, "-m", "asyncrl", *command]
        with self.log.open("wb") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def error(self, process: Process) -> str:
        """Why a process failed, in one line; empty if it did not."""
        if process.returncode == 0:
            return ""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        error = next((line for line in reversed(lines) if "Error" in line or line.startswith("error")), "")
        return error or (lines[-1] if lines else f"exit code {process.returncode}")


def _value(word: str) -> str:
    """The value in a word of a command line: the right-hand side of --option=value, or the whole word."""
    return word.partition("=")[2] if word.startswith("--") else word
