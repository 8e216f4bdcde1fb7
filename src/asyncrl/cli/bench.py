"""`asyncrl bench`."""

from __future__ import annotations

import json
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse, split
from asyncrl.errors import UserError
from asyncrl.sweep.specification import option

if TYPE_CHECKING:
    from asyncrl.bench.measure import Peer, Training
    from asyncrl.bench.peers import StableBaselines
    from asyncrl.config import Experiment
    from asyncrl.types import EnvironmentInfo

SIMPLE = ("Catch-", "CartPole-", "Acrobot-", "MountainCar-", "MountainCarContinuous-", "Pendulum-")
"""What both packages take without preprocessing."""
CHOSEN = ("--run-dir", "--resume", "--overwrite", "--steps", "--until-return")
PEERS = Path.home() / ".cache" / "asyncrl" / "peers"


@dataclass(frozen=True)
class Arguments:
    """Measures the raw environments and training on them in turns, and prints the ratio.

    Example: asyncrl bench ALE/Pong-v5 --memory lstm. Options of 'asyncrl train' are taken too.
    """

    environment: Annotated[Positional[str], tyro.conf.arg(metavar="ENV")] = ""
    """Gymnasium id."""
    repeats: int = 3
    """Rounds; medians over them are printed."""
    seconds: float = 10.0
    """Of each measurement."""
    peers: bool = False
    """Measure Stable-Baselines3 in the same rounds; it is installed in a folder of its own (hundreds of megabytes)."""
    peers_dir: Path = PEERS
    """That folder."""
    vary: str = ""
    """Measure each of several values of a setting, such as envs_per_worker=1,4,16: how does cost grow?"""
    output: Path | None = None
    """Picture of that to write: .png, .svg or .pdf."""
    json: bool = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; a SIGTERM ends what was started, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _main(arguments)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _main(arguments: Sequence[str]) -> int:
    own, passed = split(arguments, Arguments)
    given = parse(Arguments, "bench", own)
    if given.repeats < 1 or given.seconds <= 0:
        raise UserError("--repeats must be at least 1, --seconds more than 0")
    if not given.environment:
        raise UserError("which environment? it comes first, for example: asyncrl bench ALE/Pong-v5 --memory lstm")
    if given.output is not None and not given.vary:
        raise UserError("--output is for the picture that --vary makes: name a setting to vary")
    if given.output is not None and given.output.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"pictures end in .png, .svg or .pdf, not {given.output.name!r}")
    for word in passed:
        if word.split("=", 1)[0].replace("_", "-") in CHOSEN:
            raise UserError(f"the benchmark chooses {word} itself: leave it out")
    cases = _cases(given, passed)
    peers = _peers(given, cases[0])
    for number in range(1, given.repeats + 1):
        for case in cases:
            case.measure(given.seconds)
            name = f" {case.value}," if case.value else ""
            _say(f"round {number}:{name} raw {case.raw[-1]:,.0f} steps/s, training {case.speeds[-1]:,.0f} steps/s")
        if peers is not None:
            peers.measure(cases[0].info.id, given.seconds, _say)
    results = [case.result([*case.peers, *(peers.peers.values() if peers else [])]) for case in cases]
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


@dataclass
class Case:
    """One experiment that is measured, and what was found so far."""

    value: str  # of the setting that varies, if one does
    train: list[str]  # arguments of `asyncrl train`
    experiment: Experiment
    info: EnvironmentInfo
    peers: list[Peer]  # those that run inside this package
    raw: list[float] = field(default_factory=list)
    trained: list[Training] = field(default_factory=list)

    @property
    def speeds(self) -> list[float]:
        """Of training, in steps per second."""
        return [training.steps_per_second for training in self.trained]

    def measure(self, seconds: float) -> None:
        """One more round."""
        from asyncrl.bench.measure import raw_speed, training_speed
        from asyncrl.bench.plain_loop import plain_speed

        self.raw.append(raw_speed(self.experiment, seconds))
        self.trained.append(training_speed(self.train, seconds))
        for peer in self.peers:
            peer.steps_per_second.append(plain_speed(self.experiment, self.info, seconds))

    def result(self, peers: Sequence[Peer]) -> dict[str, Any]:
        """Medians over the rounds."""
        from asyncrl import kernels
        from asyncrl.algorithms import algorithm_name

        experiment, trained, speeds = self.experiment, self.trained, self.speeds
        return {
            "environment": experiment.environment,
            **({"value": self.value} if self.value else {}),
            "algorithm": algorithm_name(experiment.algorithm),
            "memory": experiment.network.memory,
            "compiled_kernels": kernels.available(),
            "workers": experiment.worker_count,
            "envs_per_worker": experiment.environment_count,
            "rollout_length": experiment.algorithm.rollout_length,
            "frames_per_step": self.info.frames_per_step,
            "raw_steps_per_second": _median(self.raw),
            "training_steps_per_second": _median(speeds),
            "ratio": round(statistics.median(t / r for t, r in zip(speeds, self.raw, strict=True)), 3),
            "cpu_microseconds_per_step": {
                phase: _median([training.microseconds[phase] for training in trained])
                for phase in trained[0].microseconds
            },
            "private_megabytes_of_a_worker": _median([max(training.private_bytes) / 2**20 for training in trained]),
            "total_megabytes": _median([training.total_bytes / 2**20 for training in trained]),
            "peers": [
                {
                    "name": peer.name,
                    "setting": peer.setting,
                    "steps_per_second": _median(peer.steps_per_second),
                    "times_as_fast": round(
                        statistics.median(t / p for t, p in zip(speeds, peer.steps_per_second, strict=True)), 2
                    ),
                }
                for peer in peers
            ],
            "rounds": {
                "raw": [round(speed, 1) for speed in self.raw],
                "training": [round(speed, 1) for speed in speeds],
            },
        }


def _cases(given: Arguments, passed: Sequence[str]) -> list[Case]:
    """One case, or one for each value of the setting that varies."""
    from asyncrl.bench import plain_loop
    from asyncrl.bench.measure import Peer
    from asyncrl.cli.train import experiment_from
    from asyncrl.envs.make import describe

    name, _, values = given.vary.partition("=")
    different = values.split(",")  # one empty value where nothing varies
    if given.vary and (not name or not all(different) or len(set(different)) < len(different)):
        raise UserError(
            f"--vary takes a setting and different values of it, like envs_per_worker=1,4, not {given.vary!r}"
        )
    if f"--{name}".replace("_", "-") in CHOSEN:
        raise UserError(f"the benchmark chooses --{name.replace('_', '-')} itself: vary another setting")
    if given.vary and given.peers:
        raise UserError("--peers knows nothing of --vary: leave one of them out")
    cases = []
    for value in different:
        train = [given.environment, *passed, *(option(name, value) if value else [])]
        experiment = experiment_from(train)
        if experiment.runtime != "processes":
            raise UserError("the benchmark measures workers that are processes: leave out --runtime serial")
        info = describe(experiment)
        compared = not given.vary and plain_loop.fits(experiment, info)
        plain = [Peer("plain torch loop", "one environment per process")] if compared else []
        cases.append(Case(value, train, experiment, info, plain))
    return cases


def _peers(given: Arguments, case: Case) -> StableBaselines | None:
    if not given.peers:
        return None
    from asyncrl.bench.peers import PACKAGE, StableBaselines
    from asyncrl.config import available_cores

    if not case.info.id.startswith(("ALE/", *SIMPLE)) or case.experiment.environment_options:
        raise UserError("--peers knows games of ALE/, classic control and Catch, without options of the environment")
    _say(f"looking for {PACKAGE} in {given.peers_dir}; it is installed if it is not there")
    return StableBaselines(given.peers_dir / PACKAGE, available_cores())


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 1)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    frames, raw = result["frames_per_step"], result["raw_steps_per_second"]
    table = Table("", "steps/s", "frames/s", "of raw", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [("raw environments", raw), ("asyncrl", result["training_steps_per_second"])]
    rows += [(peer["name"], peer["steps_per_second"]) for peer in result["peers"]]
    for name, speed in rows:
        ratio = result["ratio"] if name == "asyncrl" else speed / raw
        table.add_row(name, f"{speed:,.0f}", f"{speed * frames:,.0f}", f"{ratio:.2f}")
    console = Console(highlight=False)
    setting = f"{result['workers']} workers × {result['envs_per_worker']} environments, T = {result['rollout_length']}"
    memory = f", {result['memory']}" if result["memory"] != "none" else ""
    console.print(f"{result['environment']}, {result['algorithm']}{memory}, {setting}; medians of rounds")
    console.print(table)
    for peer in result["peers"]:
        console.print(f"{peer['times_as_fast']} × {peer['name']} ({peer['setting']})", soft_wrap=True)
    phases = result["cpu_microseconds_per_step"]
    parts = ", ".join(f"{phase} {time:,.0f}" for phase, time in phases.items())
    console.print(f"CPU time of a step: {sum(phases.values()):,.0f} µs ({parts})", soft_wrap=True)
    console.print(
        f"memory: {result['private_megabytes_of_a_worker']:,.0f} MB of each worker's own, "
        f"{result['total_megabytes']:,.0f} MB in total"
    )


def _print_growth(vary: str, results: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    name = vary.partition("=")[0].replace("_", "-")
    phases = list(results[0]["cpu_microseconds_per_step"])
    table = Table(name, "steps/s", "of raw", *phases, "MB each", "MB in all", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
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
        console = Console(highlight=False, width=160)  # a log should not be folded
    first = results[0]
    console.print(f"{first['environment']}, {first['algorithm']}; medians of rounds; CPU time of a step in µs by phase")
    console.print(table)
