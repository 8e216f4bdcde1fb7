"""`asyncrl.train`, the Python interface to training."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium
from gymnasium.vector import VectorEnv

from asyncrl.algorithms import algorithm_name
from asyncrl.algorithms.base import Algorithm
from asyncrl.callbacks import Callback
from asyncrl.errors import UserError
from asyncrl.importing import path_of
from asyncrl.request import Request, prepare
from asyncrl.training import Result, run


def train(
    environment: str | Callable[..., gymnasium.Env[Any, Any]],
    *,
    algorithm: str | Algorithm | type[Algorithm] | None = None,
    preset: str | None = None,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    modules: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Trains an agent and returns when the run has ended: `asyncrl train` for Python.

    Scripts call this under `if __name__ == "__main__":`, because worker processes import the script. Ctrl-C saves the
    run, and the function returns as usual with the exit code 130; a second Ctrl-C raises `KeyboardInterrupt` at once.

    Args:
        environment: Gymnasium id (without a version, the newest), or a class or function that makes an environment.
        algorithm: Name, import path, class, or an object such as `A3C(rollout_length=16)`, whose fields count as given
            settings; by default the preset's first algorithm.
        preset: Named settings to start from, or path of a preset file; by default the best tuned preset for the
            environment.
        run_dir: Folder of the run; by default the first free `runs/ENV-ALGORITHM-N`.
        resume: Continue the run in `run_dir`, or the newest run of the environment and algorithm.
        overwrite: Replace the run in `run_dir`.
        modules: Your own modules that the settings of a resumed run or of a preset file may import.
        callbacks: Objects whose methods are called at updates, episodes, evaluations and other events.
        quiet: Print warnings only.
        settings: Any setting of `Experiment` or of its algorithm, network, optimizer or supervision, by its own name,
            such as `steps`, `learning_rate` or `entropy_weight`. `torso` and `optimizer` also take a class or function.

    Raises:
        UserError: An argument or a setting is wrong, or the folder cannot be used.
        RunError: The run failed. What the agent had learned is saved.
    """
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise UserError(f"callbacks takes objects of classes that inherit asyncrl.Callback, not {callback!r}")
    path = None if run_dir is None else Path(run_dir)
    identifier, (name, fields) = _environment(environment), _algorithm(algorithm)
    if "wrappers" in settings:
        settings["wrappers"] = _wrappers(settings["wrappers"])
    given = fields | {key: _plain(key, value) for key, value in settings.items()}
    request = Request(identifier, name, preset, path, resume, overwrite, tuple(modules), given)
    from asyncrl.reporting.progress import TrainingConsole

    experiment, folder = prepare(request)
    return run(experiment, folder, resume, TrainingConsole(), callbacks, quiet)


def _environment(environment: Any) -> str:
    if isinstance(environment, gymnasium.Env | VectorEnv):
        spec = environment.spec
        name = "CartPole-v1" if spec is None else spec.id
        raise UserError(
            "each worker makes its own environments, so train takes no environment that is already made: give its id "
            f"({name!r}), its class, or a function that makes one (lambda: gymnasium.make({name!r}))"
        )
    return environment if isinstance(environment, str) else _path("environment", environment)


def _algorithm(algorithm: Any) -> tuple[str | None, dict[str, Any]]:
    """The algorithm's name or import path, and the settings that its fields give."""
    if algorithm is None or isinstance(algorithm, str):
        return algorithm, {}
    if not dataclasses.is_dataclass(algorithm):
        raise UserError(f"algorithm takes a name, or a dataclass with the methods of Algorithm, not {algorithm!r}")
    fields = {} if isinstance(algorithm, type) else dataclasses.asdict(algorithm)
    return algorithm_name(cast(Algorithm, algorithm)), fields


def _wrappers(value: Any) -> tuple[Any, ...]:
    """The wrappers; a single one counts as a list of one."""
    wrappers = tuple(value) if isinstance(value, list | tuple) else (value,)
    for wrapper in wrappers:
        if not (isinstance(wrapper, str) or callable(wrapper)):
            raise UserError(f"wrappers takes import paths module:function, functions and classes, not {wrapper!r}")
    return wrappers


def _plain(setting: str, value: Any) -> Any:
    """The value of a setting with import paths in place of classes and functions; wrappers are several."""
    if isinstance(value, list | tuple):
        return tuple(_plain(setting, part) for part in value)
    return _path(setting, value) if callable(value) else value


def _path(what: str, value: Any) -> str:
    """The path at which workers find a class or function that was given for a setting."""
    if not (isinstance(value, partial) or inspect.isclass(value) or inspect.isroutine(value)):
        raise UserError(f"{what} takes a name, an import path, a class or a function, not a {type(value).__name__}")
    return path_of(value)
