"""What somebody asks `asyncrl train` for, and the experiment and the run folder that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncrl import given
from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment, given_objects, setting, to_dict
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.importing import modules_in, texts_in
from asyncrl.main_script import check_workers_can_import_it
from asyncrl.reporting.trackers import check_installed
from asyncrl.resolution import full_id, resolve, starting_point
from asyncrl.run_folder import RunFolder, new_run_folder, newest_run_folder, open_run_folder

FIXED: dict[str, Callable[[Experiment], object]] = {
    "environment": lambda experiment: (experiment.environment, experiment.environment_options),
    "wrappers": lambda experiment: experiment.wrappers,
    "images": lambda experiment: (experiment.grayscale, experiment.image_size, experiment.frame_stack),
    "algorithm": lambda experiment: type(experiment.algorithm),
    "network": lambda experiment: experiment.network,
    "exploration bonus": lambda experiment: (
        experiment.exploration_bonus,
        experiment.hash_bits,
        experiment.exploration_bonus != "none" and experiment.seed,  # which decides on the hashes
    ),
    "optimizer": lambda experiment: experiment.optimizer.optimizer,
}
"""What a resumed run cannot change, because its checkpoint depends on it."""


@dataclass(frozen=True)
class Request:
    """What somebody asks `asyncrl train` for, on the command line or from Python."""

    environment: str
    algorithm: str | None = None
    preset: str | None = None
    run_dir: Path | None = None
    resume: bool = False
    overwrite: bool = False
    modules: tuple[str, ...] = ()
    """Modules that the settings of a resumed run, or of a preset file, may import."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Exactly the settings that were given, each by its own name."""

    def experiment(self) -> Experiment:
        """The experiment of a new run.

        Raises:
            UserError: No environment is named, or a setting is wrong.
        """
        if not self.environment:
            raise UserError("which environment? for example: asyncrl train CartPole-v1")
        texts = texts_in(self.settings.values())
        named = {*self.modules, *modules_in([self.environment, *texts])}  # whoever names a module trusts it
        start = starting_point(
            self.environment,
            self.preset,
            self.algorithm,
            named,
            self.settings.get("environment_options"),
            self.settings.get("wrappers", ()),
        )
        return resolve(start, self.settings)


def prepare(request: Request) -> tuple[Experiment, RunFolder]:
    """The experiment, and its run folder: the one to resume, or an empty one.

    Raises:
        UserError: Two parts of the request contradict each other, a setting is wrong, a tracker is not installed, or
            the folder cannot be used.
    """
    if request.resume and request.overwrite:
        raise UserError("--resume continues a run, --overwrite throws it away: choose one of them")
    if request.resume and request.preset:
        raise UserError("a resumed run keeps its own settings: leave --preset out")
    if request.overwrite and request.run_dir is None:
        raise UserError("--overwrite replaces the run in --run-dir: name it")
    return _resumed(request) if request.resume else _new(request)


def find_run(environment: str, algorithm: str | None, run_dir: Path | None) -> RunFolder:
    """The run to resume: the named one, or the newest one of an environment (and an algorithm, if one is named).

    Raises:
        UserError: There is no such run, or the named one has another environment or algorithm.
    """
    if run_dir is None:
        if not environment:
            raise UserError("what should be resumed? name the environment, or the run with --run-dir")
        return newest_run_folder(full_id(environment), algorithm)
    folder = open_run_folder(run_dir)
    settings = folder.read_settings()
    asked = {"environment": full_id(environment) if environment else None, "algorithm": algorithm}
    for name, value in asked.items():
        saved = setting(settings, name)
        if value and value != saved:
            raise UserError(f"the run {run_dir} is of {saved}, not of {value}")
    return folder


def _check_start(experiment: Experiment) -> None:
    """Finds, before anything is written, what would keep trackers or worker processes from starting."""
    check_installed(experiment.supervision.trackers)
    if experiment.runtime != "serial":
        check_workers_can_import_it()
        given.pack(given_objects(to_dict(experiment)))


def _resumed(request: Request) -> tuple[Experiment, RunFolder]:
    folder = find_run(request.environment, request.algorithm, request.run_dir)
    texts = texts_in(request.settings.values())
    named = modules_in([request.environment, request.algorithm, *texts])  # whoever names a module trusts it
    saved = folder.read_experiment((*request.modules, *named))
    experiment = resolve(saved, request.settings)
    _check_start(experiment)
    for name, part in FIXED.items():
        if part(experiment) != part(saved):
            raise UserError(
                f"a resumed run cannot change its {name}: resume {folder.path} without that option, or start a new run"
            )
    return experiment, folder


def _new(request: Request) -> tuple[Experiment, RunFolder]:
    experiment = request.experiment()
    _check_start(experiment)
    if request.overwrite:  # an old run is thrown away only for one that can start
        from asyncrl.runtime.networks import make_network

        make_network(experiment, describe(experiment))
    name = algorithm_name(experiment.algorithm)
    return experiment, new_run_folder(experiment, name, request.run_dir, request.overwrite)
