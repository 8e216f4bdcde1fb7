"""Starts or resumes a run: from settings to a run folder with a trained agent in it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrl.algorithms import ALGORITHMS, algorithm_class, algorithm_name
from asyncrl.callbacks import Callback
from asyncrl.config import (
    GROUPS,
    Experiment,
    from_dict,
    named_modules,
    setting,
    to_dict,
    with_drawn_learning_rate,
    with_fixed_learning_rate,
)
from asyncrl.envs.make import describe, environments_for_a_worker, find_spec
from asyncrl.errors import RunError, UserError
from asyncrl.presets import default_preset, find_preset
from asyncrl.reporting.trackers import check_installed, make_trackers
from asyncrl.run_folder import RunFolder, locked, new_run_folder, newest_run_folder, open_run_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from asyncrl.agent import Agent
    from asyncrl.reporting.sink import Sink
    from asyncrl.types import Video


@dataclass(frozen=True)
class Result:
    """A run that ended."""

    run_dir: Path
    summary: dict[str, Any]
    exit_code: int  # 0 done, 130 or 143 stopped by a signal
    modules: tuple[str, ...] = ()  # of other people, which its settings named

    def load(self) -> Agent:
        """The agent it trained."""
        from asyncrl.agent import load

        return load(self.run_dir, modules=self.modules)


def train(
    environment: str,
    *,
    algorithm: str | None = None,
    preset: str | None = None,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    modules: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Result:
    """Trains an agent and returns when the run has ended; the Python form of `asyncrl train`.

    A script that calls this with processes as workers must do so under `if __name__ == "__main__":`.

    Args:
        environment: Gymnasium id; without a version, the newest.
        algorithm: Name or import path; by default the preset's.
        preset: Name; by default the best tuned one for the environment.
        run_dir: Folder of the run; by default the first free `runs/ENV-ALGORITHM-N`.
        resume: Go on with the run in `run_dir`, or with the newest of the environment and algorithm.
        overwrite: Replace the run in `run_dir`.
        modules: Modules of your own that a resumed run's settings may import.
        callbacks: Your own code at updates, episodes, evaluations and more.
        settings: Any setting of `Experiment` and of its algorithm, network and optimizer by its own name, such as
            `steps`, `learning_rate` or `entropy_weight`.

    Raises:
        UserError: A setting is wrong, or the folder cannot be used.
        RunError: A worker or a callback failed; what was learned is saved.
    """
    _refuse_unguarded_script()
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise UserError(f"callbacks takes objects of classes that inherit asyncrl.Callback, not {callback!r}")
    path = None if run_dir is None else Path(run_dir)
    if resume:
        modules = (*modules, *modules_of(environment, algorithm))
        folder = find_run(environment, algorithm, path)
        experiment = resumed(folder, lambda saved: with_settings(saved, settings), modules)
    else:
        start = starting_point(environment, preset, algorithm)
        experiment = settled(with_settings(start, settings), start, "learning_rate" in settings)
        folder = prepare_folder(experiment, path, overwrite)
    from asyncrl.reporting.progress import TrainingConsole

    return run(experiment, folder, resume, TrainingConsole(), callbacks)


def starting_point(environment: str, preset: str | None, algorithm: str | None) -> Experiment:
    """The experiment before any setting is given by hand: preset and algorithm.

    Raises:
        UserError: The environment, the preset or the algorithm is unknown.
    """
    chosen = find_preset(preset) if preset else None  # a wrong name is reported before environments are imported
    cls = algorithm_class(algorithm) if algorithm else None
    if chosen and algorithm in ALGORITHMS and algorithm not in chosen.algorithms:
        raise UserError(f"the preset {chosen.name} has settings for {', '.join(chosen.algorithms)} only")
    identifier = full_id(environment)
    chosen = chosen or default_preset(identifier.rpartition(":")[2])
    experiment = dataclasses.replace(chosen.settings(identifier, algorithm), preset=chosen.name)
    if cls is not None and type(experiment.algorithm) is not cls:
        experiment = dataclasses.replace(experiment, algorithm=cls())
    return experiment


def settled(experiment: Experiment, start: Experiment, rate_is_given: bool) -> Experiment:
    """The experiment with what is chosen for it once: the learning rate, if it is drawn, and `auto` environments.

    Args:
        experiment: The settings of a new run.
        start: What they started from.
        rate_is_given: Whether the learning rate was given by hand.

    Raises:
        UserError: Both a learning rate and a range were given, or the environment is unknown.
    """
    with_rate = with_fixed_learning_rate(experiment, start) if rate_is_given else with_drawn_learning_rate(experiment)
    return with_chosen_environments(with_rate)


def with_chosen_environments(experiment: Experiment) -> Experiment:
    """The experiment with a number of environments in the place of `auto`."""
    if experiment.envs_per_worker != "auto":
        return experiment
    return dataclasses.replace(experiment, envs_per_worker=environments_for_a_worker(experiment.environment))


def full_id(environment: str) -> str:
    """The id with its version, and with the module that registers it if one was named."""
    module, colon, _ = environment.rpartition(":")
    return module + colon + find_spec(environment).id


def with_settings(experiment: Experiment, settings: dict[str, Any]) -> Experiment:
    """The experiment with some settings replaced, each found by its own name in the tree.

    Raises:
        UserError: There is no such setting, or its value has the wrong type or makes no sense.
    """
    parts: dict[str, Any] = {name: getattr(experiment, name) for name in GROUPS}
    parts[""] = experiment
    data = to_dict(experiment)
    for key, value in settings.items():
        owner = next((n for n, part in parts.items() if key in {f.name for f in dataclasses.fields(part)}), None)
        if owner is None or (owner == "" and key in parts):
            raise UserError(f"unknown setting {key!r}: 'asyncrl train --help' lists all, with - in place of _")
        (data[owner] if owner else data)[key] = value
    return from_dict(data)


def prepare_folder(experiment: Experiment, run_dir: Path | None, overwrite: bool) -> RunFolder:
    """An empty folder for the experiment; an old run is only thrown away for one that can start.

    Raises:
        UserError: The environment cannot be made, the network does not fit it, a tracker is not installed, or the
            folder cannot be used.
    """
    check_installed(experiment.supervision.trackers)
    if overwrite:
        from asyncrl.runtime.networks import make_network

        make_network(experiment, describe(experiment))
    return new_run_folder(experiment, algorithm_name(experiment.algorithm), run_dir, overwrite)


def find_run(environment: str, algorithm: str | None, run_dir: Path | None) -> RunFolder:
    """The run to resume: the named one, or the newest of an environment (and an algorithm, if one is named).

    Raises:
        UserError: It is not there, or is of another environment.
    """
    if run_dir is None:
        if not environment:
            raise UserError("what should be resumed? name the environment, or the run with --run-dir")
        return newest_run_folder(full_id(environment), algorithm)
    folder = open_run_folder(run_dir)
    saved = setting(folder.read_settings(), "environment")
    if environment and full_id(environment) != saved:
        raise UserError(f"the run {run_dir} is of {saved}, not of {environment}")
    return folder


def modules_of(*paths: str | None) -> tuple[str, ...]:
    """The modules that import paths given by hand name."""
    return tuple(path.split(":", 1)[0] for path in paths if path and ":" in path)


def resumed(folder: RunFolder, change: Callable[[Experiment], Experiment], modules: Sequence[str] = ()) -> Experiment:
    """The saved experiment after a change.

    Args:
        folder: Of the run.
        change: What is different now.
        modules: That the settings may import.

    Raises:
        UserError: The change touches what the checkpoint depends on, the settings would import another module, or a
            tracker is not installed.
    """
    saved = folder.read_experiment(modules)
    experiment = with_chosen_environments(change(saved))
    check_installed(experiment.supervision.trackers)
    fixed: dict[str, Callable[[Experiment], object]] = {
        "environment": lambda settings: (settings.environment, settings.environment_options),
        "algorithm": lambda settings: type(settings.algorithm),
        "network": lambda settings: settings.network,
        "optimizer": lambda settings: settings.optimizer.optimizer,
    }
    for name, part in fixed.items():
        if part(experiment) != part(saved):
            raise UserError(
                f"a resumed run cannot change its {name}: resume {folder.path} without that option, or start a new run"
            )
    return experiment


def run(
    experiment: Experiment,
    folder: RunFolder,
    resume: bool,
    console: Console,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Trains in a prepared folder, with live progress on the console.

    Raises:
        UserError: The environment or the checkpoint cannot be used, or another process trains in the folder.
        RunError: A worker or a callback failed; what was learned is saved.
    """
    with locked(folder.path):
        return _run(experiment, folder, resume, console, callbacks)


def _run(
    experiment: Experiment, folder: RunFolder, resume: bool, console: Console, callbacks: Sequence[Callback]
) -> Result:
    from asyncrl.machine import allow_open_files
    from asyncrl.runtime.fork_server import start_fork_server

    if experiment.runtime == "processes":
        allow_open_files(experiment.worker_count)
        start_fork_server()

    from asyncrl.reporting.closing import close_all
    from asyncrl.reporting.json_lines import JsonLines
    from asyncrl.reporting.log import RunLog
    from asyncrl.reporting.progress import make_progress
    from asyncrl.reporting.tensorboard import TensorBoard
    from asyncrl.runtime.checkpoint import clean_up, load_newest, set_aside_newer
    from asyncrl.runtime.supervisor import Supervisor

    modules = tuple(named_modules(to_dict(experiment)))
    clean_up(folder.checkpoints)
    checkpoint, warnings = load_newest(folder.checkpoints) if resume else (None, [])
    messages = [f"warning: {warning}; going on from an older one" for warning in warnings]
    try:
        info = describe(experiment)
        supervisor = Supervisor(experiment, info, folder, checkpoint, lambda text: tell(text), record_video)
    except UserError:
        folder.remove_if_empty()
        raise
    summary = _whole_summary(folder) if resume else None
    if summary is not None and supervisor.reason_to_end:
        more = "give more --steps, a higher --until-return or more --until-seconds"
        reason = f"{supervisor.reason_to_end}: nothing is left to do ({more})"
        console.print(reason, soft_wrap=True, highlight=False)
        return Result(folder.path, summary, 0, modules)

    steps = 0 if checkpoint is None else checkpoint.state.steps
    try:
        if resume and to_dict(experiment) != folder.read_settings():
            folder.keep_old_experiment()
        set_aside_newer(folder.checkpoints, steps)
        folder.write_experiment(experiment)
        folder.forget_the_end()
        removed = folder.cut_history(steps)
        log = RunLog(folder.log_file)
        files: list[Sink] = [JsonLines(folder.metrics_file), TensorBoard(folder.tensorboard, steps)]
    except OSError as error:
        raise UserError(f"cannot write to {folder.path} ({error.strerror or error}): free some space there") from error
    progress = make_progress(console, experiment.steps)

    def tell(text: str) -> None:
        log.tell(text)
        with suppress(OSError):  # nobody looks any more
            progress.tell(text)

    log.tell(f"started by process {os.getpid()}" if checkpoint is None else f"resumed at step {steps:,}")
    if removed:
        messages.append(f"{removed} lines of metrics of work after the checkpoint went to discarded.jsonl")
    for message in messages:
        tell(message)
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
    from asyncrl.analysis.curves import plot_runs  # its libraries take a second that training need not wait for

    try:
        plot_runs([folder], folder.curve_file)
    except UserError as error:
        with suppress(OSError):
            console.print(f"warning: {error}", style="yellow", soft_wrap=True)
    if outcome.exit_code == 2:
        raise UserError(outcome.error)
    if outcome.exit_code == 1:
        raise RunError(f"{outcome.error}\n{_saved(folder)}")
    return Result(folder.path, outcome.summary, outcome.exit_code, modules)


def record_video(agent: Agent, seed: int, pulse: NDArray[np.int64]) -> Video:
    """Plays and draws an episode of an agent, in the process that evaluates it.

    Args:
        agent: Agent that plays.
        seed: Seed of environment and actions.
        pulse: Heartbeat [1], counted up with each step.

    Raises:
        UserError: The environment cannot be drawn.
    """
    from asyncrl.analysis.film import film

    return film(agent, seed, pulse)


def _whole_summary(folder: RunFolder) -> dict[str, Any] | None:
    """The run's summary, unless it is damaged: the next end writes another."""
    try:
        return folder.read_summary()
    except UserError:
        return None


def _saved(folder: RunFolder) -> str:
    """Where what was learned can be found."""
    from asyncrl.runtime.checkpoint import checkpoint_folders, step_of

    saved = checkpoint_folders(folder.checkpoints)
    if not saved:
        return f"nothing could be saved in {folder.path}"
    return f"what was learned is saved in {folder.path}, up to step {step_of(saved[-1]):,}"


def _refuse_unguarded_script() -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker is importing the script
        raise UserError("call asyncrl.train under 'if __name__ == \"__main__\":', because workers import your script")
