"""From the settings that somebody gave to the whole experiment: the one way that every setting takes."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asyncrl.algorithms import ALGORITHMS, algorithm_class
from asyncrl.config import Experiment, replaced
from asyncrl.envs.ids import find_spec
from asyncrl.envs.kinds import kind_of
from asyncrl.envs.make import environments_for_a_worker
from asyncrl.errors import UserError
from asyncrl.importing import modules_in, trust_advice
from asyncrl.presets import Preset, default_preset, find_preset
from asyncrl.settings import OptimizerSettings
from asyncrl.types import Kind


def starting_point(
    environment: str,
    preset: str | None = None,
    algorithm: str | None = None,
    modules: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    wrappers: Sequence[str] = (),
) -> Experiment:
    """The experiment before any setting is given: that of a preset, for an environment and an algorithm.

    Args:
        environment: Gymnasium id; without a version, the newest.
        preset: Name, or path of a preset file; by default the best tuned preset for the environment.
        algorithm: Name or import path; by default the one that the preset chooses.
        modules: Modules outside asyncrl that the user named, which a preset file may import.
        options: Keyword arguments of the environment, on which its kind may depend.
        wrappers: Import paths of wrappers of the environment, on which its kind may depend too.

    Raises:
        UserError: The environment, the preset or the algorithm is unknown, the preset is not for the algorithm, or a
            preset file names a module that the user did not name.
    """
    chosen = find_preset(preset) if preset else None  # wrong names are reported before environments are imported
    if chosen and algorithm in ALGORITHMS and algorithm not in chosen.algorithms:
        raise UserError(f"the preset {chosen.name} has settings for {', '.join(chosen.algorithms)} only")
    if algorithm:
        algorithm_class(algorithm)
    identifier = full_id(environment)
    chosen = chosen or default_preset(identifier.rpartition(":")[2])
    kind = kind_of(identifier, _options(options or {}), wrappers) if chosen.by_kind else None
    return from_preset(chosen, identifier, algorithm, modules, kind)


def from_preset(
    preset: Preset,
    environment: str,
    algorithm: str | None,
    modules: Iterable[str] = (),
    kind: Kind | None = None,
) -> Experiment:
    """The experiment of a preset; an algorithm that the preset does not know has its own default settings.

    Raises:
        UserError: The algorithm is unknown, or a preset file names a module that the user did not name.
    """
    if preset.modules - set(modules) - modules_in([algorithm]):
        advice = trust_advice(preset.modules, modules)
        raise UserError(f"{preset.name} uses code that is not asyncrl's: {advice}")
    return preset.experiment(environment, algorithm, kind)


def resolve(start: Experiment, given: Mapping[str, Any]) -> Experiment:
    """The experiment that starts from `start` and has the given settings, with everything derived from them.

    The command line, `asyncrl.train`, sweeps and the benchmark all come through here. What is derived: the learning
    rate, if it is drawn from a range; the number of environments, if it is `auto`.

    Args:
        start: The experiment of a preset, or the saved one of a run that is resumed.
        given: Exactly the settings that somebody gave, each by its own name. Environment options are added to those of
            `start`; all other values replace those of `start`.

    Raises:
        UserError: There is no such setting, a value has the wrong type or makes no sense, or two settings contradict
            each other.
    """
    settings = dict(given)
    if "environment_options" in settings:
        settings["environment_options"] = {**start.environment_options, **_options(settings["environment_options"])}
    experiment = replaced(start, settings)
    if "optimizer" in given:
        from asyncrl.optim.hogwild import optimizer_class  # imports torch

        optimizer_class(experiment.optimizer.optimizer)
    optimizer = _with_learning_rate(experiment.optimizer, given, experiment.seed)
    environments = experiment.envs_per_worker
    if environments == "auto":
        environments = environments_for_a_worker(experiment)
    return dataclasses.replace(experiment, optimizer=optimizer, envs_per_worker=environments)


def full_id(environment: str) -> str:
    """The id with its version, and with the module that registers it if the id names one."""
    module, colon, _ = environment.rpartition(":")
    return module + colon + find_spec(environment).id


def _options(value: Any) -> Mapping[str, Any]:
    """The keyword arguments of the environment, if the value holds any."""
    if not isinstance(value, Mapping):
        raise UserError(f"environment_options takes a dictionary of keyword arguments, not {value!r}")
    return value


def _with_learning_rate(settings: OptimizerSettings, given: Mapping[str, Any], seed: int) -> OptimizerSettings:
    """The settings with a given learning rate in place of the preset's range, or with one that the seed draws."""
    if "learning_rate" in given:
        if given.get("learning_rate_range") is not None:
            raise UserError("--learning-rate and --learning-rate-range cannot both be given")
        return dataclasses.replace(settings, learning_rate_range=None)
    if settings.learning_rate_range is None:
        return settings
    low, high = (math.log(bound) for bound in settings.learning_rate_range)
    rate = math.exp(random.Random(seed).uniform(low, high))
    return dataclasses.replace(settings, learning_rate=float(f"{rate:.4g}"))
