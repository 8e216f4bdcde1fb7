"""`asyncrl train`."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import tyro

from asyncrl.algorithms import algorithm_class, algorithm_name
from asyncrl.cli.arguments import convert, parse, parse_options, settings_class
from asyncrl.config import Experiment, named_modules, to_dict
from asyncrl.errors import UserError
from asyncrl.presets import find_preset
from asyncrl.presets.tuned import default
from asyncrl.reporting.progress import TrainingConsole
from asyncrl.runtime.fork_server import start_fork_server
from asyncrl.runtime.phases import PHASES

DESCRIPTION = (
    "Trains an agent. Settings not given come from the best tuned preset for the environment, or from --preset."
)


def main(arguments: Sequence[str]) -> int:
    """Trains, and prints where the run is and what to do next."""
    given = _parse(arguments, _placeholder(arguments))  # finds which experiment the other settings start from
    if given.experiment.runtime == "processes":
        start_fork_server()  # its imports take as long as ours, so the sooner the better

    from asyncrl.training import find_run, modules_of, prepare_folder, resumed, run

    if given.resume:
        if given.overwrite:
            raise UserError("--resume goes on with a run, --overwrite throws it away: choose one of them")
        if given.experiment.preset:
            raise UserError("a resumed run keeps its own settings: leave --preset out")
        folder = find_run(given.experiment.environment, given.algorithm, given.run_dir)
        modules = (*given.imports, *modules_of(given.experiment.environment, given.algorithm))
        experiment = resumed(folder, lambda saved: _experiment(_parse(arguments, saved), saved), modules)
    else:
        if given.overwrite and given.run_dir is None:
            raise UserError("--overwrite replaces the run in --run-dir: name it")
        experiment = experiment_from(arguments)
        folder = prepare_folder(experiment, given.run_dir, given.overwrite)

    console = TrainingConsole()
    console.print(_headline(experiment), soft_wrap=True, highlight=False)
    result = run(experiment, folder, given.resume, console)
    with suppress(OSError):  # nobody looks any more
        console.print(_farewell(result.summary, folder.path, experiment), soft_wrap=True, highlight=False)
    return result.exit_code


def experiment_from(arguments: Sequence[str]) -> Experiment:
    """The experiment that the arguments of a new run describe.

    Raises:
        UserError: They name no environment, or something unknown.
    """
    from asyncrl.training import settled, starting_point

    given = _parse(arguments, _placeholder(arguments))
    if not given.experiment.environment:
        raise UserError("which environment? for example: asyncrl train CartPole-v1")
    start = starting_point(given.experiment.environment, given.experiment.preset or None, given.algorithm)
    experiment = _experiment(_parse(arguments, start), start)
    given_rate = any(word.split("=", 1)[0].replace("_", "-") == "--learning-rate" for word in arguments)
    return settled(experiment, start, given_rate)


def _parse(arguments: Sequence[str], start: Experiment) -> Any:
    kind = settings_class(start)
    fields: list[Any] = [
        ("experiment", kind),
        ("algorithm", _described(str | None, "Name or import path module:Class; by default the preset's."), None),
        ("env_option", _described(tuple[str, ...], "Arguments of the environment, such as rows=12."), ()),
        (
            "run_dir",
            _described(Path | None, "Folder of the run; by default the first free runs/ENV-ALGORITHM-N."),
            None,
        ),
        ("resume", _described(bool, "Go on with the run in --run-dir, or with the environment's newest."), False),
        ("overwrite", _described(bool, "Replace the run in --run-dir."), False),
        (
            "imports",
            Annotated[
                tuple[str, ...], tyro.conf.arg(name="import", help="Modules of your own that a resumed run may import.")
            ],
            (),
        ),
    ]
    command = dataclasses.make_dataclass("Train", fields, frozen=True)
    return parse(command, "train", arguments, command(convert(start, kind)), DESCRIPTION)


def _described(kind: Any, text: str) -> Any:
    return Annotated[kind, tyro.conf.arg(help=text)]


def _placeholder(arguments: Sequence[str]) -> Experiment:
    """An experiment of the algorithm that the arguments ask for, so that its settings can be parsed."""
    words = [part for argument in arguments for part in argument.split("=", 1)]
    following = dict(itertools.pairwise(words))
    algorithm = following.get("--algorithm")
    if {"--help", "-h"} & set(arguments) and not arguments[0].startswith("-"):
        from asyncrl.training import starting_point

        return starting_point(arguments[0], following.get("--preset"), algorithm)  # help shows what ENV starts from
    make = find_preset(following["--preset"]).settings if "--preset" in following else default
    experiment = dataclasses.replace(make("x", algorithm), environment="")
    if algorithm and type(experiment.algorithm) is not algorithm_class(algorithm):
        experiment = dataclasses.replace(experiment, algorithm=algorithm_class(algorithm)())
    return experiment


def _experiment(parsed: Any, start: Experiment) -> Experiment:
    options = {**start.environment_options, **parse_options(parsed.env_option)}
    experiment = convert(parsed.experiment, Experiment)
    return dataclasses.replace(
        experiment, environment=start.environment, preset=start.preset, environment_options=options
    )


def _headline(experiment: Experiment) -> str:
    workers, environments = experiment.worker_count, experiment.environment_count
    return (
        f"{algorithm_name(experiment.algorithm)} on {experiment.environment} · preset {experiment.preset} · "
        f"{workers} worker{'s' if workers > 1 else ''} × {environments} "
        f"environment{'s' if environments > 1 else ''} · seed {experiment.seed}"
    )


def _farewell(summary: dict[str, Any], run: Path, experiment: Experiment) -> str:
    mean = summary["return_mean"]
    result = "no episode was finished" if mean is None else f"mean return of the last 100 episodes: {mean:.2f}"
    match summary["ended_by"]:
        case "steps":
            end = "done"
        case "goal":
            end = f"reached the goal of {experiment.until_return:g}"
            mean, episodes = summary["evaluation_return_mean"], summary["evaluation_episodes"]
            result = f"mean return of {episodes} evaluation episodes: {mean:.2f}"
        case "time":
            end = f"its {experiment.until_seconds:g} seconds are over"
        case name:
            end = f"stopped by {name} with a checkpoint"
    command = _own_command()
    imports = "".join(f" --import {module}" for module in sorted(named_modules(to_dict(experiment))))
    lines = [
        f"{end} after {summary['steps']:,} steps and {summary['wall_seconds']:.1f} s; {result}",
        f"  run:    {run}",
        f"  curve:  {run / 'learning_curve.png'}",
        *_time_line(summary),
        "next:",
        f"  {command} eval {shlex.quote(str(run))} --episodes 100{imports}",
        f"  {command} watch {shlex.quote(str(run))} --video {shlex.quote(f'{run}/episode.mp4')}{imports}",
    ]
    if summary["status"] == "stopped":
        lines.append(f"  {command} train --resume --run-dir {shlex.quote(str(run))}{imports}")
    return "\n".join(lines)


def _time_line(summary: dict[str, Any]) -> list[str]:
    """Where workers' time went, if any was measured."""
    shares = {phase: summary.get(f"share_{phase}") for phase in PHASES}
    parts = [f"{phase} {share:.0%}" for phase, share in shares.items() if share is not None]
    return [f"  time:   {', '.join(parts)}"] if parts else []


def _own_command() -> str:
    """How to call this program again from the present folder."""
    called = Path(sys.argv[0])
    if shutil.which("asyncrl"):
        return "asyncrl"
    if called.name == "asyncrl":
        return os.path.relpath(called)
    return f"{os.path.relpath(sys.executable)} -m asyncrl"
