"""`asyncrl train`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrl import metrics
from asyncrl.algorithms import algorithm_name
from asyncrl.cli.arguments import parse_options
from asyncrl.cli.train_options import parse_given
from asyncrl.config import Experiment, named_modules, to_dict
from asyncrl.formatting import counted
from asyncrl.importing import import_option
from asyncrl.reporting.ending import end_of, return_of
from asyncrl.reporting.progress import TrainingConsole
from asyncrl.runtime.fork_server import start_fork_server

if TYPE_CHECKING:
    from asyncrl.request import Request


def main(arguments: Sequence[str]) -> int:
    """Trains, and prints where the run is and what to do next."""
    given = parse_given(arguments)
    if given.get("runtime") != "serial":
        start_fork_server()  # its imports take as long as ours, so the sooner the better

    from asyncrl.request import prepare
    from asyncrl.training import run

    request = make_request(given)
    experiment, folder = prepare(request)
    console, quiet = TrainingConsole(), bool(given.get("quiet"))
    if not quiet:
        _print(console, _headline(experiment))
    result = run(experiment, folder, request.resume, console, quiet=quiet)
    if result.trained:
        summary = result.summary
        lines = [f"{end_of(summary, experiment)}; {return_of(summary)}"]
        if not quiet:
            lines.append(_next_steps(summary, folder.path, experiment))
        _print(console, "\n".join(lines))
    return result.exit_code


def _print(console: TrainingConsole, text: str) -> None:
    with suppress(OSError):  # the terminal may be gone, or the disk of a log may be full
        console.print(text, soft_wrap=True, highlight=False)


def experiment_from(arguments: Sequence[str]) -> Experiment:
    """The experiment that the arguments of a new run describe.

    Raises:
        UserError: They name no environment, or a setting is wrong.
    """
    return make_request(parse_given(arguments)).experiment()


def make_request(given: Mapping[str, Any]) -> Request:
    """The request that the given options make.

    Raises:
        UserError: An environment option does not have the form key=value.
    """
    from asyncrl.request import Request

    settings = {name: value for name, value in given.items() if name != "quiet"}
    if "env_option" in settings:
        settings["environment_options"] = parse_options(settings.pop("env_option"))
    if wrappers := settings.pop("wrapper", ()):
        settings["wrappers"] = wrappers
    return Request(
        environment=settings.pop("environment", ""),
        algorithm=settings.pop("algorithm", None),
        preset=settings.pop("preset", None),
        run_dir=settings.pop("run_dir", None),
        resume=settings.pop("resume", False),
        overwrite=settings.pop("overwrite", False),
        modules=settings.pop("import", ()),
        settings=settings,
    )


def _headline(experiment: Experiment) -> str:
    workers, environments = experiment.worker_count, experiment.environment_count
    kind, where = "worker", ""
    if experiment.runtime == "ray":  # the cluster has not been asked yet
        cluster, workers = experiment.cluster, 0 if experiment.workers == "auto" else experiment.workers
        where = "all nodes × " if cluster.nodes == "auto" else f"{counted(cluster.nodes, 'node')} × "
        if cluster.actors:
            kind, workers = "actor", cluster.actors
            where += f"({counted(cluster.learners, 'learner')} + "
    return (
        f"{algorithm_name(experiment.algorithm)} on {experiment.environment} · preset {experiment.preset} · "
        f"{where}{counted(workers, kind) if workers else 'a worker on each core'} × "
        f"{counted(environments, 'environment')}{')' if kind == 'actor' else ''} · seed {experiment.seed}"
    )


def _next_steps(summary: dict[str, Any], run: Path, experiment: Experiment) -> str:
    """Where the run is, where its time went, and the commands that people use next."""
    command = _own_command()
    modules = named_modules(to_dict(experiment))
    imports = f" {import_option(modules)}" if modules else ""
    lines = [
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
    parts = [f"{phase} {share:.0%}" for phase, share in metrics.shares(summary).items()]
    return [f"  time:   {', '.join(parts)}"] if parts else []


def _own_command() -> str:
    """How to call this program again from the present folder."""
    called = Path(sys.argv[0])
    if shutil.which("asyncrl"):
        return "asyncrl"
    if called.name == "asyncrl":
        return os.path.relpath(called)
    return f"{os.path.relpath(sys.executable)} -m asyncrl"
