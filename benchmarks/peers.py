"""Measures training beside its peers, in turns: a plain A3C loop in PyTorch, and Stable-Baselines3.

python benchmarks/peers.py ENV [--repeats 3] [--seconds 10] [options of 'asyncrl train']

The plain loop (plain_loop.py) takes part for feed-forward A3C with `--envs-per-worker 1`. Stable-Baselines3 takes part
if it is installed: with its DQN where `--algorithm dqn` is measured, otherwise with its A2C and PPO. A virtual
environment of its own gives all of them the same versions of torch, gymnasium and ale-py:

python -m venv peers && peers/bin/pip install -e ".[classic-control,fast]" stable-baselines3 opencv-python-headless
peers/bin/python benchmarks/peers.py ALE/Pong-v5
peers/bin/python benchmarks/peers.py ALE/Pong-v5 --algorithm dqn --preset paper/dqn-2015 --replay-capacity 200k \\
    --replay-start 2000 --workers 1 --envs-per-worker 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Protocol

import plain_loop
from child import output_of, run_script

from asyncrl.algorithms.dqn import DQN
from asyncrl.bench.case import Case
from asyncrl.cli.bench import make_case
from asyncrl.config import available_cores
from asyncrl.errors import UserError

STABLE_BASELINES = "stable-baselines3"
ALGORITHMS = ("a2c", "ppo")
VECTORS = ("dummy", "subprocess")
ENVIRONMENTS = {"a2c": (16,), "ppo": (16,), "dqn": (1, 8)}
"""Numbers of environments that are tried; the paper's DQN has one."""
SIMPLE = ("Catch-", "CartPole-", "Acrobot-", "MountainCar-", "MountainCarContinuous-", "Pendulum-")
"""Environments that both packages train on without preprocessing, besides the games of ALE."""


RULES = {"repeat_action_probability", "use_fire_reset"}
"""Options of environments that leave the speed as it is. Stable-Baselines3 trains with its own."""


class Peer(Protocol):
    """Something that training is compared with."""

    name: str
    setting: str
    speeds: list[float]  # steps per second, one for each round

    def measure(self, seconds: float) -> None:
        """Measures one more round."""
        ...


@dataclass
class PlainLoop:
    """The plain loop."""

    case: Case
    name: str = "plain PyTorch loop"
    setting: str = "one environment per process"
    speeds: list[float] = field(default_factory=list)

    def measure(self, seconds: float) -> None:
        self.speeds.append(plain_loop.plain_speed(self.case.experiment, self.case.info, seconds))


@dataclass
class StableBaselines:
    """An algorithm of Stable-Baselines3, in the fastest setting that the first round finds."""

    algorithm: str
    environment: str
    numbers: tuple[int, ...] = ()  # of environments to try; those of `ENVIRONMENTS` if it is empty
    name: str = ""
    setting: str = ""
    speeds: list[float] = field(default_factory=list)
    best: tuple[str, int, int] | None = None  # kind of vector, threads and environments

    def __post_init__(self) -> None:
        self.name = f"{STABLE_BASELINES} {metadata.version(STABLE_BASELINES)} {self.algorithm}"

    def measure(self, seconds: float) -> None:
        if self.best is not None:
            self.speeds.append(self._speed(seconds, *self.best))
            return
        settings = [
            (vector, threads, environments)
            for environments in (self.numbers or ENVIRONMENTS[self.algorithm])
            for vector in (VECTORS if environments > 1 else VECTORS[:1])
            for threads in sorted({1, available_cores()})
        ]
        found = {setting: self._speed(seconds, *setting) for setting in settings}
        self.best = max(found, key=lambda setting: found[setting])
        self.setting = f"{self.best[2]} environments, {self.best[0]} vector, {self.best[1]} threads"
        self.speeds.append(found[self.best])

    def _speed(self, seconds: float, vector: str, threads: int, environments: int) -> float:
        script = Path(__file__).with_name("stable_baselines.py")
        values = self.algorithm, self.environment, str(seconds), vector, str(threads), str(environments)
        speed = float(output_of([sys.executable, str(script), *values], self.name).split()[-1])
        setting = f"{environments} environments, {vector} vector, {threads} threads"
        say(f"{self.name}, {setting}: {speed:,.0f} steps/s")
        return speed


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", metavar="ENV")
    parser.add_argument("--repeats", type=int, default=3, help="number of rounds")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    given, passed = parser.parse_known_args(arguments)
    case = make_case([given.environment, *passed])
    peers = find_peers(case)
    for number in range(1, given.repeats + 1):
        case.measure(given.seconds)
        say(f"round {number}: raw {case.raw[-1]:,.0f} steps/s, training {case.speeds[-1]:,.0f} steps/s")
        for peer in peers:
            peer.measure(given.seconds)
            say(f"round {number}: {peer.name} {peer.speeds[-1]:,.0f} steps/s")
    show(case, peers)


def find_peers(case: Case) -> list[Peer]:
    """The peers that can train on this environment with these settings.

    Raises:
        UserError: There are none.
    """
    peers: list[Peer] = []
    if plain_loop.fits(case.experiment, case.info):
        peers.append(PlainLoop(case))
    if not case.info.id.startswith(("ALE/", *SIMPLE)) or not RULES.issuperset(case.experiment.environment_options):
        say(f"{STABLE_BASELINES} is compared on Atari, classic control and Catch only, with the usual options")
    elif util.find_spec("stable_baselines3") is None:
        say(f"{STABLE_BASELINES} is not installed ('python benchmarks/peers.py --help' says how)")
    else:
        names = ("dqn",) if isinstance(case.experiment.algorithm, DQN) else ALGORITHMS
        peers += [StableBaselines(algorithm, case.info.id) for algorithm in names]
    if not peers:
        raise UserError("no peer can do this: for the plain loop use --algorithm a3c --envs-per-worker 1")
    return peers


def show(case: Case, peers: Sequence[Peer]) -> None:
    """Prints medians over the rounds; ratios are medians of the ratios within each round."""
    rows = [("raw environments", "", case.raw), ("asyncrl", "", case.speeds)]
    for name, setting, speeds in rows + [(peer.name, peer.setting, peer.speeds) for peer in peers]:
        times = statistics.median(own / other for own, other in zip(case.speeds, speeds, strict=True))
        ratio = f"asyncrl is {times:.2f} times as fast" if speeds is not case.speeds else ""
        print(f"{name:<32}{statistics.median(speeds):>12,.0f} steps/s  {ratio:<34}{setting}".rstrip())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_script(main)
