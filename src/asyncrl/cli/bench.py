"""`asyncrl bench`."""

from __future__ import annotations

import json
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse, split
from asyncrl.errors import UserError

if TYPE_CHECKING:
    from asyncrl.bench.measure import Training
    from asyncrl.bench.peers import Peer
    from asyncrl.config import Experiment

CLASSIC = ("CartPole-", "Acrobot-", "MountainCar-", "MountainCarContinuous-", "Pendulum-")
"""What both packages know without preprocessing."""
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
    for word in passed:
        if word.split("=", 1)[0].replace("_", "-") in CHOSEN:
            raise UserError(f"the benchmark chooses {word} itself: leave it out")

    from asyncrl.bench.measure import raw_speed, training_speed
    from asyncrl.cli.train import experiment_from
    from asyncrl.config import available_cores
    from asyncrl.envs.make import describe

    train = [given.environment, *passed]
    experiment = experiment_from(train)
    if experiment.runtime != "processes":
        raise UserError("the benchmark measures workers that are processes: leave out --runtime serial")
    info = describe(experiment)
    others = None
    if given.peers:
        from asyncrl.bench.peers import PACKAGE, StableBaselines

        if not info.id.startswith(("ALE/", *CLASSIC)) or experiment.environment_options:
            raise UserError("--peers knows games of ALE/ and classic control, without options of the environment")
        _say(f"looking for {PACKAGE} in {given.peers_dir}; it is installed if it is not there")
        others = StableBaselines(given.peers_dir / PACKAGE, available_cores())
    raw: list[float] = []
    trained: list[Training] = []
    for number in range(1, given.repeats + 1):
        raw.append(raw_speed(experiment, given.seconds))
        trained.append(training_speed(train, given.seconds))
        _say(f"round {number}: raw {raw[-1]:,.0f} steps/s, training {trained[-1].steps_per_second:,.0f} steps/s")
        if others is not None:
            others.measure(info.id, given.seconds, _say)
    result = _result(experiment, info.frames_per_step, raw, trained, others.peers if others else [])
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        _print(result)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _result(
    experiment: Experiment, frames: int, raw: list[float], trained: list[Training], peers: list[Peer]
) -> dict[str, Any]:
    from asyncrl.algorithms import algorithm_name

    def median(values: Sequence[float]) -> float:
        return round(statistics.median(values), 1)

    speeds = [training.steps_per_second for training in trained]
    return {
        "environment": experiment.environment,
        "algorithm": algorithm_name(experiment.algorithm),
        "memory": experiment.network.memory,
        "workers": experiment.worker_count,
        "envs_per_worker": experiment.envs_per_worker,
        "rollout_length": experiment.algorithm.rollout_length,
        "frames_per_step": frames,
        "raw_steps_per_second": median(raw),
        "training_steps_per_second": median(speeds),
        "ratio": round(statistics.median(t / r for t, r in zip(speeds, raw, strict=True)), 3),
        "cpu_microseconds_per_step": {
            phase: median([training.microseconds[phase] for training in trained]) for phase in trained[0].microseconds
        },
        "private_megabytes_of_a_worker": median([max(training.private_bytes) / 2**20 for training in trained]),
        "total_megabytes": median([training.total_bytes / 2**20 for training in trained]),
        "peers": [
            {
                "name": f"stable-baselines3 {peer.version} {peer.algorithm}",
                "setting": peer.setting,
                "steps_per_second": median(peer.steps_per_second),
                "times_as_fast": round(
                    statistics.median(t / p for t, p in zip(speeds, peer.steps_per_second, strict=True)), 2
                ),
            }
            for peer in peers
        ],
        "rounds": {"raw": [round(speed, 1) for speed in raw], "training": [round(speed, 1) for speed in speeds]},
    }


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
