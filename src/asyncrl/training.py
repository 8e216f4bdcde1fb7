"""Trains in a run folder, from the first step or from a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrl.algorithms import algorithm_name
from asyncrl.callbacks import Callback
from asyncrl.config import Experiment, given_objects, named_modules, to_dict
from asyncrl.envs.make import describe
from asyncrl.envs.observations import observation_codec
from asyncrl.errors import RunError, UserError
from asyncrl.reporting.ending import end_of, return_of
from asyncrl.reporting.trackers import make_trackers
from asyncrl.run_folder import RunFolder, locked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from asyncrl.reporting.log import RunLog
    from asyncrl.reporting.sink import Sink
    from asyncrl.runtime.agent import Agent
    from asyncrl.runtime.workers import MakeWorkers
    from asyncrl.types import EnvironmentInfo, Video


@dataclass(frozen=True, repr=False)
class Result:
    """The outcome of a run."""

    run_dir: Path
    summary: dict[str, Any]
    exit_code: int  # 0: done, 130 or 143: stopped by a signal
    experiment: Experiment
    trained: bool = True  # false if a resumed run had nothing left to do

    def __repr__(self) -> str:
        """Five lines: what was trained, how it ended, what it reached, where it is, and how to get the agent."""
        name, experiment = algorithm_name(self.experiment.algorithm), self.experiment
        modules = f", modules={self.modules}" if self.modules else ""
        return "\n".join(
            [
                f"{name} on {experiment.environment}, preset {experiment.preset}, seed {experiment.seed}",
                end_of(self.summary, experiment),
                return_of(self.summary),
                f"run folder: {self.run_dir}",
                f"agent: asyncrl.load({str(self.run_dir)!r}{modules})",
            ]
        )

    @property
    def modules(self) -> list[str]:
        """The modules that the settings import and that do not belong to asyncrl."""
        return sorted(named_modules(to_dict(self.experiment)))

    def load(self) -> Agent:
        """The agent that the run trained."""
        from asyncrl.agent import load

        return load(self.run_dir, modules=self.modules)


def run(
    experiment: Experiment,
    folder: RunFolder,
    resume: bool,
    console: Console,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Result:
    """Trains in a prepared folder and shows the progress on the console, or only warnings if it should be quiet.

    Raises:
        UserError: The environment or the checkpoint cannot be used, or another process trains in the folder.
        RunError: A worker or a callback failed. What the agent had learned is saved.
    """
    try:
        with locked(folder.path), _cluster(experiment):
            return _run(experiment, folder, resume, console, callbacks, quiet)
    except BaseException:  # also Ctrl-C before there are files of the run
        folder.remove_if_empty()
        raise


def _cluster(experiment: Experiment) -> AbstractContextManager[None]:
    """The cluster that the run uses, if it uses one."""
    if experiment.runtime != "ray":
        return nullcontext()
    from asyncrl.gorila.cluster import connected

    return connected(experiment.cluster.address)


def _run(
    experiment: Experiment,
    folder: RunFolder,
    resume: bool,
    console: Console,
    callbacks: Sequence[Callback],
    quiet: bool,
) -> Result:
    _prepare_processes(experiment)

    from asyncrl.reporting.closing import close_all
    from asyncrl.reporting.progress import make_progress
    from asyncrl.runtime.checkpoint import clean_up, load_newest
    from asyncrl.runtime.supervisor import Supervisor

    clean_up(folder.checkpoints)
    checkpoint, warnings = load_newest(folder.checkpoints) if resume else (None, [])
    info = describe(experiment)
    supervised, make_workers = _on_cluster(experiment, folder, lambda text: tell(text))
    supervisor = Supervisor(supervised, info, folder, checkpoint, lambda text: tell(text), record_video, make_workers)
    if resume and supervisor.reason_to_end and (summary := _readable_summary(folder)) is not None:
        more = "give more --steps, a higher --until-return or more --until-seconds"
        text = f"{supervisor.reason_to_end}: nothing is left to do ({more})"
        with suppress(OSError):  # the terminal may be gone
            console.print(text, soft_wrap=True, highlight=False)
        return Result(folder.path, summary, 0, experiment, trained=False)

    steps = 0 if checkpoint is None else checkpoint.state.steps
    log, files, discarded = _open_files(experiment, folder, resume, steps)
    progress = make_progress(console, experiment.steps, quiet)

    def tell(text: str) -> None:
        log.tell(text)
        with suppress(OSError):  # the terminal may be gone
            progress.tell(text)

    log.tell(f"started by process {os.getpid()}" if checkpoint is None else f"resumed at step {steps:,}")
    for note in _notes(experiment, info):
        tell(note)
    for warning in warnings:
        tell(f"warning: {warning}; going on from an older one")
    if discarded:
        tell(f"{discarded} lines of metrics of work after the checkpoint went to discarded.jsonl")
    trackers, at_once = make_trackers(experiment, folder), False
    try:
        outcome = supervisor.run([*files, *trackers, progress], callbacks)
        log.tell(f"ended: {outcome.summary['ended_by']} at step {outcome.summary['steps']:,} {outcome.error}".rstrip())
    except (KeyboardInterrupt, SystemExit):
        at_once = True
        raise
    finally:
        close_all([progress, *files], trackers, tell, at_once)
        log.close()
    _draw_curve(folder, console)
    if outcome.exit_code == 2:
        raise UserError(outcome.error)
    if outcome.exit_code == 1:
        raise RunError(f"{outcome.error}\n{_what_is_saved(folder)}")
    return Result(folder.path, outcome.summary, outcome.exit_code, experiment)


def _on_cluster(
    experiment: Experiment, folder: RunFolder, notify: Callable[[str], None]
) -> tuple[Experiment, MakeWorkers | None]:
    """The experiment as it runs, and what makes its workers: on a cluster, with the number of nodes that it has."""
    if experiment.runtime != "ray":
        return experiment, None
    from asyncrl.gorila.cluster import with_numbers
    from asyncrl.gorila.workers import RayWorkers

    experiment = with_numbers(experiment)
    return experiment, lambda info, shared: RayWorkers(experiment, info, shared, folder.path, notify)


def _notes(experiment: Experiment, info: EnvironmentInfo) -> Iterator[str]:
    """What the user of a run should know when it starts."""
    for path in observation_codec(info.given_space).left_out:
        yield f"note: the agent does not see the observation {path!r}, which is text"
    for path in given_objects(to_dict(experiment)):
        yield (
            f"warning: {path.rpartition(':')[2]} is a Python object that cannot be imported: only this program can "
            "evaluate or resume the run; define it at the top level of a module to let others do so"
        )
    algorithm = experiment.algorithm
    start = getattr(algorithm, "replay_start", 0) if getattr(algorithm, "replay_ratio", 1) else 0
    if experiment.steps <= start:
        verb = "replay" if algorithm.learns_before_replay else "learn"
        yield (
            f"warning: the agent will {verb} little or nothing: the run has {experiment.steps:,} steps, and "
            f"{verb}ing begins after {start:,} (--replay-start); give many more --steps or a smaller --replay-start"
        )


def _prepare_processes(experiment: Experiment) -> None:
    """Starts what worker processes are started from, before slow imports, so that both go on at the same time."""
    from asyncrl.machine import allow_open_files
    from asyncrl.runtime.fork_server import start_fork_server

    if experiment.runtime != "serial":
        allow_open_files(experiment.worker_count if experiment.runtime == "processes" else 0)
        start_fork_server()


def _open_files(experiment: Experiment, folder: RunFolder, resume: bool, steps: int) -> tuple[RunLog, list[Sink], int]:
    """Brings the folder to the state of that step and opens the files that the run writes.

    Returns:
        The log, the files of metrics, and how many lines of metrics were discarded because they are newer.

    Raises:
        UserError: The folder cannot be written to.
    """
    from asyncrl.reporting.json_lines import JsonLines
    from asyncrl.reporting.log import RunLog
    from asyncrl.reporting.tensorboard import TensorBoard
    from asyncrl.runtime.checkpoint import set_aside_newer

    try:
        if resume and to_dict(experiment) != folder.read_settings():
            folder.keep_old_experiment()
        set_aside_newer(folder.checkpoints, steps)
        folder.write_experiment(experiment)
        folder.forget_the_end()
        discarded = folder.cut_history(steps)
        log = RunLog(folder.log_file)
        return log, [JsonLines(folder.metrics_file), TensorBoard(folder.tensorboard, steps)], discarded
    except OSError as error:
        raise UserError(f"cannot write to {folder.path} ({error.strerror or error}): free some space there") from error


def _draw_curve(folder: RunFolder, console: Console) -> None:
    from asyncrl.analysis.curves import plot_runs  # imports for a second, which need not delay the training

    try:
        plot_runs([folder], folder.curve_file)
    except UserError as error:
        with suppress(OSError):  # the terminal may be gone
            console.print(f"warning: {error}", style="yellow", soft_wrap=True)


def record_video(agent: Agent, seed: int, pulse: NDArray[np.int64]) -> Video:
    """Plays and draws an episode of an agent, in the process that evaluates it.

    Args:
        agent: Agent that plays.
        seed: Seed of environment and actions.
        pulse: Heartbeat [1], counted up with each step.

    Raises:
        UserError: The environment cannot be drawn.
    """
    from asyncrl.analysis.video import episode_gif

    return episode_gif(agent, seed, pulse)


def _readable_summary(folder: RunFolder) -> dict[str, Any] | None:
    """The summary of the run, or None if there is none or it is damaged. The end of the run writes a new one."""
    try:
        return folder.read_summary()
    except UserError:
        return None


def _what_is_saved(folder: RunFolder) -> str:
    from asyncrl.runtime.checkpoint import checkpoint_folders, step_of

    saved = checkpoint_folders(folder.checkpoints)
    if not saved:
        return f"nothing could be saved in {folder.path}"
    steps = step_of(saved[-1])
    if steps == 0:
        return f"nothing was learned before the run failed; {folder.log_file} says what happened"
    return f"what was learned is saved in {folder.path}, up to step {steps:,}"
