"""`asyncrl sweep`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from asyncrl import metrics
from asyncrl.cli.arguments import option_names, parse, parse_pairs, split
from asyncrl.errors import UserError
from asyncrl.importing import import_option
from asyncrl.run_folder import RunFolder, locked
from asyncrl.sweep.execution import Ended, run_sweep
from asyncrl.sweep.results import Summary, done_runs, summarise, write_results
from asyncrl.sweep.specification import SWEEPS, Sweep


@dataclass(frozen=True)
class Arguments:
    """Makes many runs and compares them. The same command, given again, continues a sweep that was stopped.

    Example: asyncrl sweep Catch --grid algorithm=a3c,nstep-q --seeds 1 2 3 --steps 100k.
    Options of 'asyncrl train' can be given too. They apply to all runs.
    """

    environment: Annotated[Positional[str], tyro.conf.arg(metavar="ENV")] = ""
    """Gymnasium id. Leave it out to continue the sweep in --dir."""
    grid: tuple[str, ...] = ()
    """Settings with their values, such as workers=1,2 lock=true,false. All combinations are run."""
    draw: tuple[str, ...] = ()
    """Settings that each run draws log-uniformly from a range, such as learning_rate=1e-4:1e-2."""
    draws: int = 1
    """Number of draws for each combination and seed."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the runs. Every combination is run once with each seed."""
    dir: Path | None = None
    """Folder of the sweep; by default sweeps/ENV, or the first free one of sweeps/ENV-2, sweeps/ENV-3, ..."""
    parallel: int | None = None
    """Number of runs at the same time; by default as many as the cores allow."""
    episodes: int = 0
    """Evaluate each trained agent over so many episodes, and use the result as its score. 0: no evaluation."""
    deterministic: bool = False
    """Take the most probable actions in evaluation instead of sampling them."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Your own modules that the sweep in --dir may import."""


def main(arguments: Sequence[str]) -> int:
    """Makes the runs that are not done yet, then prints and plots the results."""
    own, passed = split(arguments, Arguments)
    given = parse(Arguments, "sweep", own)
    if given.draws < 1 or given.episodes < 0 or (given.parallel is not None and given.parallel < 1):
        raise UserError("--draws and --parallel must be at least 1, --episodes must not be negative")
    if given.environment:
        asked = _sweep(given, passed)
        folder = given.dir or SWEEPS.default(asked)
        sweep = SWEEPS.open(folder, asked)
    elif given.dir is None:
        raise UserError("which environment? for example: asyncrl sweep Catch --grid algorithm=a3c,nstep-q")
    elif passed or replace(given, parallel=None, imports=()) != Arguments(dir=given.dir):
        raise UserError("--dir alone continues a sweep as it is: name the environment to start another")
    else:
        folder, sweep = given.dir, SWEEPS.open(given.dir, None)
        used = (module for trial in sweep.trials() for module in trial.plan(folder, sweep).modules)
        check_modules(f"the sweep in {folder}", used, given.imports)
    with locked(folder):
        return _run(folder, sweep, given.parallel or _cores_allow(sweep))


def check_modules(what: str, used: Iterable[str], named: Iterable[str]) -> None:
    """Makes sure that the user named all modules that a folder of runs uses.

    Raises:
        UserError: One was not named.
    """
    modules = set(used)
    if modules - set(named):
        option = import_option(modules)
        raise UserError(f"{what} uses code that is not asyncrl's: if you trust that code, add {option}")


def _run(folder: Path, sweep: Sweep, parallel: int) -> int:
    trials = sweep.trials()
    before = len(write_results(folder, sweep))
    print(f"{len(trials)} runs in {folder}, {before} of them done already, {parallel} at a time", flush=True)
    count, failed = before, 0

    def report(ended: Ended) -> None:
        nonlocal count, failed
        count, failed = count + 1, failed + bool(ended.error)
        print(f"[{count}/{len(trials)}] {ended.trial.name}: {ended.error or _outcome(ended)}", flush=True)

    finished = run_sweep(folder, sweep, parallel, report)
    results = write_results(folder, sweep)
    if results:
        _print_table(summarise(results, list(sweep.grid)))
        for picture in _draw(folder, sweep):
            print(f"wrote {picture}")
    if failed:
        print(f"{failed} failed: their output is in {folder / 'logs'}")
    if not finished:
        print(f"stopped; continue with: asyncrl sweep --dir {folder}")
        return 130
    return 1 if failed else 0


def _sweep(given: Arguments, options: Sequence[str]) -> Sweep:
    from asyncrl.cli.train import experiment_from
    from asyncrl.config import check_seed, setting

    grid = {name: values.split(",") for name, values in parse_pairs(given.grid, "--grid", "workers=1,2")}
    draw = {name: _range(name, bounds) for name, bounds in parse_pairs(given.draw, "--draw", "learning_rate=1e-4:1e-2")}
    for forbidden in {"run_dir", "resume", "overwrite", "seed"} & {*option_names(options), *grid, *draw}:
        raise UserError(f"a sweep chooses --{forbidden.replace('_', '-')} itself: leave it out")
    if given.draws > 1 and not draw:
        raise UserError("--draws is the number of draws of --draw: name a setting with --draw, or give more --seeds")
    if not given.seeds:
        raise UserError("--seeds takes at least one number")
    for seed in given.seeds:
        check_seed(seed)
    sweep = Sweep(
        environment=given.environment,
        grid=grid,
        draw=draw,
        draws=given.draws,
        seeds=list(given.seeds),
        options=list(options),
        episodes=given.episodes,
        deterministic=given.deterministic,
    )
    names = [trial.name for trial in sweep.trials()]
    if len(set(names)) < len(names):
        raise UserError("two runs of this sweep would be the same: check --seeds and the values in --grid")
    seen: set[str] = set()
    for trial in sweep.trials():  # errors are found before anything runs
        key = str(sorted(trial.settings.items()))
        if key not in seen:
            experiment = experiment_from(trial.arguments(sweep))
            for name in trial.settings:
                setting(experiment, name)  # refuses names that are not settings
            seen.add(key)
    return sweep


def _range(name: str, text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = (0.0, 0.0)
    if not 0 < bounds[0] <= bounds[1]:
        raise UserError(f"--draw takes a range of positive numbers, such as {name}=1e-4:1e-2, not {text!r}")
    return bounds


def _cores_allow(sweep: Sweep) -> int:
    from asyncrl.cli.train import experiment_from
    from asyncrl.config import available_cores

    workers = max(experiment_from(trial.arguments(sweep)).worker_count for trial in sweep.trials()[:64])
    return max(1, available_cores() // workers)


def _outcome(ended: Ended) -> str:
    summary, evaluation = ended.run.read_summary(), ended.run.read_evaluation()
    assert summary is not None
    mean = summary[metrics.RETURN_MEAN]
    parts = [f"return {mean:.2f}" if mean is not None else "no episode"]
    if evaluation is not None:
        parts.append(f"evaluation {evaluation[metrics.RETURN_MEAN]:.2f}")
    return ", ".join([*parts, f"{summary[metrics.STEPS]:,} steps", f"{summary[metrics.WALL_SECONDS]:.0f} s"])


def _print_table(summaries: Sequence[Summary]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("runs", "score", "95 % interval", "goals", "steps", "seconds")
    table = Table(*summaries[0].settings, *columns, box=None, pad_edge=False)
    for summary in summaries:
        table.add_row(
            *summary.settings.values(),
            str(summary.runs),
            f"{summary.score:.2f}",
            f"{summary.low:.2f} to {summary.high:.2f}",
            str(summary.goals),
            f"{summary.steps_done:,.0f}",
            f"{summary.seconds:.1f}",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a log has long lines
    console.print(table)
    console.print(
        "score: interquartile mean over runs; goals: runs that reached --until-return; steps, seconds: medians"
    )


def _draw(folder: Path, sweep: Sweep) -> list[Path]:
    from asyncrl.analysis import curves

    groups: dict[str, list[RunFolder]] = {}
    for trial, run in done_runs(folder, sweep):
        groups.setdefault(", ".join(trial.settings[name] for name in sweep.grid) or "all", []).append(run)
    pictures = [folder / "curves.png", folder / "curves_seconds.png"]
    curves.plot_groups(groups, pictures[0])
    curves.plot_groups(groups, pictures[1], metrics.WALL_SECONDS)
    for name in sweep.draw:
        pictures.append(folder / f"score_{name}.png")
        curves.plot_scores(groups, pictures[-1], name)
    if sweep.draw:
        pictures.append(folder / "sorted.png")
        curves.plot_sorted(groups, pictures[-1])
    return pictures
