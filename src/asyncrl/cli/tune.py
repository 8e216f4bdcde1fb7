"""`asyncrl tune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import option_names, parse, parse_pairs, split
from asyncrl.cli.sweep import check_modules
from asyncrl.config import Experiment, check_seed
from asyncrl.errors import RunError, UserError
from asyncrl.importing import import_option
from asyncrl.presets import find_preset
from asyncrl.run_folder import locked
from asyncrl.sweep.specification import option
from asyncrl.tune.specification import TUNINGS, Tuning, Value
from asyncrl.tune.study import NAME, Study, check_optuna

if TYPE_CHECKING:
    from asyncrl.tune.execution import Ended

CHOSEN = ("run_dir", "resume", "overwrite", "seed", "steps", "until_return", "until_seconds")
"""Settings that a tuning chooses itself."""
SAME_FOR_ALL = ("algorithm", "environment", "preset", "env_option")
"""Options that cannot be searched, because other settings depend on them."""


@dataclass(frozen=True)
class Arguments:
    """Searches good settings for an environment, and writes the best ones as a preset file.

    Every trial trains for the same time. The first one has the settings that the search starts from. The same command,
    given again, continues a search that was stopped; with more --trials, one that has ended.

    Example: asyncrl tune Catch --trials 20 --seconds-per-trial 10.
    Options of 'asyncrl train' can be given too. They apply to all trials, and are not searched.
    """

    environment: Annotated[Positional[str], tyro.conf.arg(metavar="ENV")] = ""
    """Gymnasium id. Leave it out to continue the tuning in --dir."""
    trials: int = 20
    """Number of trials, with those that are done already."""
    seconds_per_trial: float = 60.0
    """Seconds of training of each trial, for each of its seeds."""
    search: tuple[str, ...] = ()
    """Settings to search beside the usual ones, or in another range: learning_rate=1e-4:1e-2 hidden=64,128."""
    only: bool = False
    """Search nothing but the settings in --search."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of each trial. Its score is the mean over them."""
    episodes: int = 50
    """Number of episodes in the evaluation of each trained agent, whose mean return is the score."""
    deterministic: bool = False
    """Take the most probable actions in evaluation instead of sampling them."""
    dir: Path | None = None
    """Folder of the tuning; by default tunes/ENV, or the first free one of tunes/ENV-2, tunes/ENV-3, ..."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Your own modules that the tuning in --dir may import."""


def main(arguments: Sequence[str]) -> int:
    """Makes the trials that are not done yet, prints their scores and writes the best preset."""
    own, passed = split(arguments, Arguments)
    given = parse(Arguments, "tune", own)
    if min(given.trials, given.episodes) < 1 or not 0 < given.seconds_per_trial < float("inf"):
        raise UserError("--trials and --episodes must be at least 1, --seconds-per-trial must be positive")
    check_optuna()
    if given.environment:
        asked = _tuning(given, passed)
        folder = given.dir or TUNINGS.default(asked)
        tuning = TUNINGS.open(folder, asked)
    elif given.dir is None:
        raise UserError("which environment? for example: asyncrl tune Catch --trials 20 --seconds-per-trial 10")
    elif passed or replace(given, trials=Arguments.trials, imports=()) != Arguments(dir=given.dir):
        raise UserError("--dir with --trials continues a tuning as it is: name the environment to start another")
    else:
        folder, tuning = given.dir, TUNINGS.open(given.dir, None)
        check_modules(f"the tuning in {folder}", tuning.modules, given.imports)
    with locked(folder):
        return _run(folder, tuning, given.trials)


def _run(folder: Path, tuning: Tuning, trials: int) -> int:
    from optuna.exceptions import StorageInternalError

    from asyncrl.tune.best import write_best
    from asyncrl.tune.execution import run_tuning
    from asyncrl.tune.space import values_of

    start = _start(tuning.environment, tuning.options)
    first = values_of(start, tuning.search)
    study = Study(folder, tuning, first if len(first) == len(tuning.search) else {}, _earliest(start))
    count, failed = len(study.ended), 0
    print(f"{trials} trials of {tuning.seconds:g} s in {folder}, {count} of them done already; searched:")
    for name, dimension in tuning.search.items():
        print(f"  {name:<18} {dimension}", flush=True)

    def report(ended: Ended) -> None:
        nonlocal count, failed
        count, failed = count + 1, failed + bool(ended.error)
        settings = "the settings it starts from" if ended.values == first else _shown(tuning, ended.values, ended.steps)
        print(f"[{count}/{trials}] {ended.name}: {_outcome(ended)}: {settings}", flush=True)
        if ended.score is not None:
            write_best(folder, tuning, study, start)

    try:
        finished = run_tuning(folder, tuning, study, trials, report)
    except (OSError, StorageInternalError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        remedy = f"make room, then continue with: asyncrl tune --dir {folder} --trials {trials}"
        raise RunError(f"{folder} cannot be written to ({reason}): {remedy}") from error
    if study.scored:
        _print_best(tuning, study, first)
        preset = write_best(folder, tuning, study, start)
        modules = find_preset(str(preset)).modules
        imports = f" {import_option(modules)}" if modules else ""
        print(f"wrote {preset}\nnext: asyncrl train {start.environment} --preset {preset}{imports}")
    if failed:
        print(f"{failed} failed: their output is in {folder / 'logs'}")
    if not finished:
        print(f"stopped; continue with: asyncrl tune --dir {folder} --trials {trials}")
        return 130
    return 1 if failed else 0


def _tuning(given: Arguments, options: Sequence[str]) -> Tuning:
    from asyncrl.tune.space import chosen, default_space

    start = _start(given.environment, options)
    fixed = option_names(options)
    searched = dict(parse_pairs(given.search, "--search", "learning_rate=1e-4:1e-2"))
    for name in {*CHOSEN} & {*fixed, *searched}:
        raise UserError(f"a tuning chooses --{name.replace('_', '-')} itself: leave it out")
    for name in searched:
        if name in fixed or name in SAME_FOR_ALL:
            raise UserError(f"{name} is the same for all trials of a tuning: leave it out of --search")
    space = {} if given.only else {name: part for name, part in default_space(start).items() if name not in fixed}
    for name, text in searched.items():
        dimension = chosen(text, start, name)
        if dimension is None:
            raise UserError(
                "--search takes a range of positive numbers, such as learning_rate=1e-4:1e-2, "
                f"or values, such as hidden=64,128, not {name}={text}"
            )
        space[name] = dimension
        for value in dimension.choices or (dimension.low, dimension.high):  # errors are found before anything runs
            _start(given.environment, [*options, *option(name, dimension.text(value, start.steps))])
    if not space:
        raise UserError("nothing is left to search: name a setting with --search, or leave --only out")
    for seed in given.seeds:
        check_seed(seed)
    if not given.seeds or len(set(given.seeds)) < len(given.seeds):
        raise UserError("--seeds takes at least one number, and each only once")
    return Tuning(
        environment=given.environment,
        options=tuple(options),
        search=space,
        seconds=given.seconds_per_trial,
        seeds=given.seeds,
        episodes=given.episodes,
        deterministic=given.deterministic,
    )


def _start(environment: str, options: Sequence[str]) -> Experiment:
    """The experiment that the search starts from."""
    from asyncrl.cli.train import experiment_from

    return experiment_from([environment, *options])


def _earliest(start: Experiment) -> int:
    """The tenth of its time before which no trial is given up.

    While workers of a value-based method explore, their returns say little of the agent's.
    """
    return 6 if getattr(start.algorithm, "explores", False) else 3


def _shown(tuning: Tuning, values: Mapping[str, Value], steps: int) -> str:
    return " ".join(f"{name}={tuning.search[name].text(value, steps)}" for name, value in values.items())


def _outcome(ended: Ended) -> str:
    if ended.error:
        return ended.error
    if ended.score is None:
        return f"given up after {ended.given_up:.0%} of its time"
    cut = f", when its time was over at {ended.completed:.0%} of its schedule" if ended.completed < 1 else ""
    return f"score {ended.score:.2f} after {ended.completed * ended.steps:,.0f} steps{cut}"


def _print_best(tuning: Tuning, study: Study, first: Mapping[str, Value]) -> None:
    best = study.scored[0]
    before = next((trial.value for trial in study.scored if trial.params == first), None)
    compared = "" if before is None else f"; it started from {before:.2f}"
    score = f"{best.value:.2f}, the mean return of {tuning.episodes} episodes"
    print(f"best: {best.user_attrs[NAME]} scored {score}{compared}")
