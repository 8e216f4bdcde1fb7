"""The options of `asyncrl train`: how to run, and every setting of an experiment."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from asyncrl.algorithms import ALGORITHMS, algorithm_class, algorithm_name, owners_of
from asyncrl.algorithms.base import Algorithm
from asyncrl.cli.arguments import described, option_group, option_names, parse, parse_options, setting_types
from asyncrl.config import GROUPS, Experiment, setting
from asyncrl.errors import UserError
from asyncrl.hints import OTHER_NAMES
from asyncrl.presets import find_preset
from asyncrl.settings import ClusterSettings, NetworkSettings, OptimizerSettings, SupervisionSettings

DEFAULT_ALGORITHM = "a3c"
"""First algorithm of every preset that is the default of an environment and does not choose by its kind."""

NOT_SETTINGS = ("environment", "environment_options", "wrappers", "preset", *GROUPS)
"""Fields of an experiment that have other options on the command line."""

SECTIONS = tuple(f"{name}_options" for name in ("experiment", *GROUPS))
"""Sections of the help that hold settings."""

UNGIVEN: dict[str, Any] = {"resume": False, "overwrite": False, "quiet": False, "wrapper": ()}
"""Options that have a value also where they are not given."""

DESCRIPTION = """Trains an agent on a Gymnasium environment.

Settings that are not given come from the best tuned preset for the environment, or from --preset.
'asyncrl train ENV --help' shows the values that ENV starts from."""


def parse_given(arguments: Sequence[str]) -> dict[str, Any]:
    """The options that are on the command line, each by its own name. Settings that are not given are left out."""
    if {"--help", "-h"} & set(arguments):
        start = _shown_start(arguments)
        parse(_options(type(start.algorithm)), "train", ["--help"], {**UNGIVEN, **_shown_values(start)}, DESCRIPTION)
    algorithm = _algorithm(arguments)
    options = _options(algorithm)
    _check_names(arguments, algorithm, options)
    parsed = parse(options, "train", arguments, UNGIVEN, DESCRIPTION)
    given: dict[str, Any] = {}
    for name, value in parsed.items():
        given |= value if name in SECTIONS else {name: value}
    return given


def _check_names(arguments: Sequence[str], algorithm: type[Algorithm], options: type[dict[str, Any]]) -> None:
    """Refuses options that have another name in asyncrl than in other libraries, and those of other algorithms.

    Raises:
        UserError: There is such an option.
    """
    known = set(options.__annotations__)
    for section in SECTIONS:
        known |= set(get_args(options.__annotations__[section])[0].__annotations__)
    known |= {f"no_{name}" for name in known}  # what turns a setting off
    for name in option_names([word for word in arguments if word.startswith("--")]) - known:
        option = f"--{name.replace('_', '-')}"
        same = [f"--{other.replace('_', '-')}" for other in OTHER_NAMES.get(name, ()) if other in known]
        if same:
            raise UserError(f"there is no option {option}: asyncrl calls it {' and '.join(same)}")
        if owners := owners_of(name.removeprefix("no_")):
            others = " or ".join(owners)
            raise UserError(f"{algorithm_name(algorithm)} has no option {option}: leave it out, or take {others}")


def _options(algorithm: type[Algorithm]) -> type[dict[str, Any]]:
    """What the command line can hold: how to run, and every setting of an experiment with that algorithm."""
    own = setting_types(Experiment)
    environment, wrappers = own["environment"], own["wrappers"]
    settings = {name: kind for name, kind in own.items() if name not in NOT_SETTINGS}
    sections = {"experiment_options": option_group("experiment", Experiment.__doc__, settings)}
    classes: tuple[type[Any], ...] = (
        algorithm,
        NetworkSettings,
        OptimizerSettings,
        SupervisionSettings,
        ClusterSettings,
    )
    for group, cls in zip(GROUPS, classes, strict=True):
        sections[f"{group}_options"] = option_group(group, cls.__doc__, setting_types(cls))
    switch = tyro.conf.FlagCreatePairsOff[bool]
    return option_group(
        "Train",
        DESCRIPTION,
        {
            "environment": Annotated[environment, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")],
            "algorithm": described(str, "Name ('asyncrl algorithms' lists them) or import path module:Class."),
            "preset": own["preset"],
            "env_option": described(tuple[str, ...], "Keyword arguments of the environment, such as rows=12."),
            "wrapper": Annotated[wrappers, tyro.conf.UseAppendAction],
            "run_dir": described(Path, "Folder of the run.", "(default: the first free runs/ENV-ALGORITHM-N)"),
            "resume": described(switch, "Continue the run in --run-dir, or the newest run of the environment."),
            "overwrite": described(switch, "Replace the run in --run-dir."),
            "quiet": described(switch, "Print only warnings and the result."),
            "import": described(
                tuple[str, ...], "Your own modules that a resumed run or a preset file may import.", ""
            ),
            **{name: Annotated[kind, tyro.conf.arg(name=kind.__name__)] for name, kind in sections.items()},
        },
    )


def _algorithm(arguments: Sequence[str]) -> type[Algorithm]:
    """The algorithm whose settings the arguments can hold: what must be known before they are parsed."""
    values = _values(arguments)
    name, environment, run_dir = values.get("--algorithm"), _leading_environment(arguments), values.get("--run-dir")
    if name is None and "--resume" in arguments and (environment or run_dir):
        from asyncrl.request import find_run

        with suppress(UserError):  # a run that cannot be resumed is refused when that is tried
            folder = find_run(environment, None, None if run_dir is None else Path(run_dir))
            saved = str(setting(folder.read_settings(), "algorithm"))
            name = saved if saved in ALGORITHMS else None  # a run folder does not decide what is imported
    elif name is None and environment:
        with suppress(UserError):  # a wrong environment or preset is refused when all arguments are read
            return type(_start(arguments).algorithm)
    if name is None and "--preset" in values:
        own = find_preset(values["--preset"]).algorithms[0]
        name = own if own in ALGORITHMS else None  # a preset file does not decide what is imported either
    return algorithm_class(name or DEFAULT_ALGORITHM)


def _shown_start(arguments: Sequence[str]) -> Experiment:
    """The experiment whose settings the help shows: the starting point for the environment, if that comes first."""
    if _leading_environment(arguments):
        return _start(arguments)
    from asyncrl.resolution import from_preset

    values = _values(arguments)
    return from_preset(find_preset(values.get("--preset", "tuned/default")), "", values.get("--algorithm"))


def _start(arguments: Sequence[str]) -> Experiment:
    """The starting point for the environment, preset, algorithm and environment options that the arguments name.

    Raises:
        UserError: One of them is wrong.
    """
    from asyncrl.resolution import starting_point

    values = _values(arguments)
    options = parse_options(_env_options(arguments))
    return starting_point(_leading_environment(arguments), values.get("--preset"), values.get("--algorithm"), options)


def _shown_values(start: Experiment) -> dict[str, Any]:
    """The values of an experiment under the names of `_options`."""
    own = {name: value for name, value in vars(start).items() if name not in NOT_SETTINGS}
    options = tuple(f"{name}={value}" for name, value in start.environment_options.items())
    return {
        **({"environment": start.environment} if start.environment else {}),
        "algorithm": algorithm_name(start.algorithm),
        "preset": start.preset,
        "env_option": options,
        "wrapper": start.wrappers,
        "experiment_options": own,
        **{f"{group}_options": dataclasses.asdict(getattr(start, group)) for group in GROUPS},
    }


def _leading_environment(arguments: Sequence[str]) -> str:
    """The environment, if it comes first, as it should."""
    return "" if not arguments or arguments[0].startswith("-") else arguments[0]


def _env_options(arguments: Sequence[str]) -> list[str]:
    """The words that follow --env-option, up to the next option."""
    after = itertools.dropwhile(lambda word: word.replace("_", "-") != "--env-option", arguments)
    return list(itertools.takewhile(lambda word: not word.startswith("--"), itertools.islice(after, 1, None)))


def _values(arguments: Sequence[str]) -> dict[str, str]:
    """The first value of each option, which may be written --option value or --option=value."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    return {word.replace("_", "-"): value for word, value in itertools.pairwise(words) if word.startswith("--")}
