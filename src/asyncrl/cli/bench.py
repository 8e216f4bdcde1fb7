"""`asyncrl bench`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse, split
from asyncrl.errors import UserError
from asyncrl.sweep.specification import option

if TYPE_CHECKING:
    from rich.table import Table

    from asyncrl.bench.case import Case

CHOSEN = ("--run-dir", "--resume", "--overwrite", "--steps", "--until-return")
"""Options of `asyncrl train` that the benchmark sets itself."""


@dataclass(frozen=True)
class Arguments:
    """Measures the speed of the raw environments and of training on them in turns, and prints the ratio.

    Example: asyncrl bench ALE/Pong-v5 --memory lstm. All options of 'asyncrl train' can be given too.
    """

    environment: Annotated[Positional[str], tyro.conf.arg(metavar="ENV")] = ""
    """Gymnasium id of the environment."""
    repeats: int = 3
    """Number of rounds; the printed results are medians over them."""
    seconds: float = 10.0
    """Length of each measurement in seconds."""
    vary: str = ""
    """Setting to vary and its values, such as envs_per_worker=1,4,16; shows how the cost of training grows."""
    output: Path | None = None
    """Picture to write of a setting that varies: .png, .svg or .pdf."""
    json: bool = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Measures and prints."""
    with interrupted_by_sigterm():
        return _main(arguments)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Makes SIGTERM act as Ctrl-C does, so that all processes of a measurement end with it."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _main(arguments: Sequence[str]) -> int:
    own, passed = split(arguments, Arguments)
    given = parse(Arguments, "bench", own)
    _check(given, passed)
    cases = _cases(given, passed)
    for number in range(1, given.repeats + 1):
        for value, case in cases.items():
            case.measure(given.seconds)
            name = f" {value}," if value else ""
            _say(f"round {number}:{name} raw {case.raw[-1]:,.0f} steps/s, training {case.speeds[-1]:,.0f} steps/s")
    results = [{**({"value": value} if value else {}), **case.result()} for value, case in cases.items()]
    if given.json:
        print(json.dumps(results if given.vary else results[0], indent=1))
    elif given.vary:
        _print_growth(given.vary, results)
    else:
        _print(results[0])
    if given.output is not None:
        from asyncrl.analysis.growth import plot_growth

        plot_growth(given.vary.partition("=")[0], results, given.output)
        _say(f"wrote {given.output}")
    return 0


def _check(given: Arguments, passed: Sequence[str]) -> None:
    """Makes sure that the arguments make sense.

    Raises:
        UserError: They do not.
    """
    if given.repeats < 1 or given.seconds <= 0:
        raise UserError("--repeats must be at least 1, --seconds more than 0")
    if not given.environment:
        raise UserError("which environment? it comes first, for example: asyncrl bench ALE/Pong-v5 --memory lstm")
    if given.output is not None and not given.vary:
        raise UserError("--output is for the picture of a setting that varies: name one with --vary")
    if given.output is not None and given.output.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"pictures end in .png, .svg or .pdf, not {given.output.name!r}")
    for word in passed:
        if word.split("=", 1)[0].replace("_", "-") in CHOSEN:
            raise UserError(f"the benchmark chooses {word} itself: leave it out")


def _cases(given: Arguments, passed: Sequence[str]) -> dict[str, Case]:
    """A case for each value of the setting that varies; one case, with an empty value, if nothing varies."""
    name, _, values = given.vary.partition("=")
    different = values.split(",")  # one empty value if nothing varies
    if given.vary and (not name or not all(different) or len(set(different)) < len(different)):
        raise UserError(
            f"--vary takes a setting and different values of it, such as envs_per_worker=1,4, not {given.vary!r}"
        )
    if f"--{name}".replace("_", "-") in CHOSEN:
        raise UserError(f"the benchmark chooses --{name.replace('_', '-')} itself: vary another setting")
    return {
        value: make_case([given.environment, *passed, *(option(name, value) if value else [])]) for value in different
    }


def make_case(train: Sequence[str]) -> Case:
    """The case for arguments of `asyncrl train`.

    Raises:
        UserError: The arguments are wrong, or the workers are not processes.
    """
    from asyncrl.bench.case import Case
    from asyncrl.cli.train import experiment_from
    from asyncrl.envs.make import describe

    experiment = experiment_from(train)
    if experiment.runtime != "processes":
        raise UserError("the benchmark measures workers that are processes: leave out --runtime")
    return Case(train, experiment, describe(experiment))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console

    frames, raw = result["frames_per_step"], result["raw_steps_per_second"]
    table = _table("", "steps/s", "frames/s", "of raw")
    for name, speed, ratio in (
        ("raw environments", raw, 1.0),
        ("asyncrl", result["training_steps_per_second"], result["ratio"]),
    ):
        table.add_row(name, f"{speed:,.0f}", f"{speed * frames:,.0f}", f"{ratio:.2f}")
    console = Console(highlight=False)
    setting = f"{result['workers']} workers × {result['envs_per_worker']} environments, T = {result['rollout_length']}"
    memory = f", {result['memory']}" if result["memory"] != "none" else ""
    console.print(f"{result['environment']}, {result['algorithm']}{memory}, {setting}; medians of rounds")
    console.print(table)
    phases = result["cpu_microseconds_per_step"]
    parts = ", ".join(f"{phase} {time:,.0f}" for phase, time in phases.items())
    console.print(f"CPU time per step: {sum(phases.values()):,.0f} µs ({parts})", soft_wrap=True)
    console.print(
        f"memory: {result['private_megabytes_of_a_worker']:,.0f} MB of its own for each worker, "
        f"{result['total_megabytes']:,.0f} MB in total"
    )


def _print_growth(vary: str, results: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console

    name = vary.partition("=")[0].replace("_", "-")
    phases = list(results[0]["cpu_microseconds_per_step"])
    table = _table(name, "steps/s", "of raw", *phases, "MB each", "MB in all")
    for result in results:
        table.add_row(
            result["value"],
            f"{result['training_steps_per_second']:,.0f}",
            f"{result['ratio']:.2f}",
            *(f"{result['cpu_microseconds_per_step'][phase]:,.0f}" for phase in phases),
            f"{result['private_megabytes_of_a_worker']:,.0f}",
            f"{result['total_megabytes']:,.0f}",
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)  # do not wrap lines in a log
    first = results[0]
    console.print(f"{first['environment']}, {first['algorithm']}; medians of rounds; CPU time per step in µs by phase")
    console.print(table)


def _table(*columns: str) -> Table:
    """A table without borders, its numbers right-aligned."""
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
