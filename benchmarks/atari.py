"""Compares what agents score on Atari games after some minutes on this machine's cores: a table, a picture, and data.

peers/bin/python benchmarks/atari.py [GAME ...] [--minutes 10 30] [--seeds 1 2 3] [--out benchmarks/results]

Methods that take part: asyncrl as `asyncrl train GAME` trains by default, asyncrl's A3C, and A2C and PPO of
Stable-Baselines3 with the settings for Atari of RL Baselines3 Zoo. They train one after another, on the same cores and
for the same wall-clock time, and then play whole games with actions that are drawn from the policy. All have the same
environment: ALE/GAME-v5 with its sticky actions, 4 frames per step, and four grey images of 84 x 84 pixels.

`benchmarks/peers.py --help` says how to make the virtual environment `peers`. Without Stable-Baselines3, its methods
are left out. Results are added to atari.csv, one row for each run, and atari_curves.csv. Runs that have a row there are
not made again, so the script can be stopped and started at any time. When all are made, or with --draw, it draws
atari.png and prints the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

from atari_results import Results, Run, draw, table
from child import output_of, run_script
from peers import StableBaselines, say
from stable_baselines_atari import ENVIRONMENTS, EVALUATION_SEED, POINTS

from asyncrl import metrics
from asyncrl.agent_folder import spread
from asyncrl.config import available_cores
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder

GAMES = ("Pong", "Breakout", "SpaceInvaders", "BeamRider", "Qbert", "Seaquest")
OURS: dict[str, tuple[str, ...]] = {"asyncrl": (), "asyncrl A3C": ("--algorithm", "a3c")}
"""Options of `asyncrl train` for each of our methods."""
THEIRS = {"SB3 A2C": "a2c", "SB3 PPO": "ppo"}
"""Algorithms of Stable-Baselines3 by the names of their methods."""
PROBE_SECONDS = 8.0
"""How long each way to run an algorithm of Stable-Baselines3 is measured before the fastest is chosen."""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("games", metavar="GAME", nargs="*", default=list(GAMES), help="such as Pong")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 30.0], help="length of a training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--methods", nargs="+", choices=[*OURS, *THEIRS], default=[*OURS, *THEIRS])
    parser.add_argument("--episodes", type=int, default=30, help="whole games that evaluate each agent")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"), help="folder of the results")
    parser.add_argument("--runs", type=Path, help="folder to keep asyncrl's run folders in; by default none is kept")
    parser.add_argument("--draw", action="store_true", help="train nothing, only draw and print what there is")
    given = parser.parse_args(arguments)
    results = Results(given.out)
    if not given.draw:
        missing = [run for run in planned(given) if run not in results.rows]
        for number, (run, row, curve) in enumerate(trained(missing, given.episodes, given.runs), 1):
            results.add(run, row, curve)
            say(f"{number} of {len(missing)}, {run}: {row['return_mean']:.1f} after {row['steps']:,} steps")
    if not results.rows:
        raise UserError(f"there are no results in {given.out} to draw: leave out --draw")
    print(table(results))
    draw(results, given.out / "atari.png")


def planned(given: argparse.Namespace) -> list[Run]:
    """All runs in the order in which they are made: the methods take turns, and the first seed comes first."""
    methods = given.methods
    if util.find_spec("stable_baselines3") is None:
        methods = [method for method in methods if method in OURS]
        say("Stable-Baselines3 is not installed, so its methods are left out ('peers.py --help' says how)")
    parts = itertools.product(given.seeds, given.minutes, given.games, methods)
    return [Run(game, method, minutes, seed) for seed, minutes, game, method in parts]


def trained(
    runs: Sequence[Run], episodes: int, kept: Path | None
) -> Iterator[tuple[Run, dict[str, Any], list[Sequence[float]]]]:
    """Makes the runs, and gives each with its row and its curve of seconds, steps and mean return."""
    ways: dict[str, tuple[str, int]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for run in runs:
            if run.method in OURS:
                yield run, *ours(run, episodes, kept or Path(temporary))
                continue
            algorithm = THEIRS[run.method]
            if algorithm not in ways:
                ways[algorithm] = fastest(algorithm, run.environment)
            yield run, *theirs(run, episodes, *ways[algorithm])


def ours(run: Run, episodes: int, folder: Path) -> tuple[dict[str, Any], list[Sequence[float]]]:
    """Trains asyncrl and evaluates the agent at the end."""
    path = folder / f"{run.game}-{run.method.replace(' ', '-')}-{run.minutes:g}-{run.seed}"
    asyncrl = [sys.executable, "-m", "asyncrl"]
    limits = ["--until-seconds", str(60 * run.minutes), "--until-return", "None", "--seed", str(run.seed)]
    options = [*OURS[run.method], *limits, "--quiet", "--overwrite", "--run-dir", str(path)]
    output_of([*asyncrl, "train", run.environment, *options], str(run))
    summary = RunFolder(path).read_summary() or {}
    if summary["ended_by"] != "time":
        say(f"{run} ended before its time by its {summary['ended_by']}")
    seed = str(EVALUATION_SEED + run.seed)
    played = output_of([*asyncrl, "eval", str(path), "--episodes", str(episodes), "--seed", seed, "--json"], str(run))
    lines = [line for line in RunFolder(path).read_metrics() if metrics.is_number(line[metrics.RETURN_MEAN])]
    names = (metrics.WALL_SECONDS, metrics.STEPS, metrics.RETURN_MEAN)
    row = json.loads(played) | {
        "steps": summary[metrics.STEPS],
        "seconds": summary[metrics.WALL_SECONDS],
        "cores": available_cores(),
        "setting": f"{summary['algorithm']}, {summary['preset']}",
        "version": our_version(),
    }
    return row, [[line[name] for name in names] for line in spread(lines, POINTS)]


def theirs(run: Run, episodes: int, vector: str, threads: int) -> tuple[dict[str, Any], list[Sequence[float]]]:
    """Trains Stable-Baselines3 and evaluates the agent at the end."""
    script = Path(__file__).with_name("stable_baselines_atari.py")
    values = THEIRS[run.method], run.environment, 60 * run.minutes, run.seed, episodes, vector, threads
    result: Mapping[str, Any] = json.loads(output_of([sys.executable, str(script), *map(str, values)], str(run)))
    setting = f"{vector} vector, {threads} threads"
    version = metadata.version("stable-baselines3")
    return {**result, "cores": available_cores(), "setting": setting, "version": version}, result["curve"]


def fastest(algorithm: str, environment: str) -> tuple[str, int]:
    """The kind of vector and the number of threads with which an algorithm is fastest on this machine."""
    peer = StableBaselines(algorithm, environment, (ENVIRONMENTS[algorithm],))
    peer.measure(PROBE_SECONDS)
    assert peer.best is not None
    vector, threads, _ = peer.best
    return vector, threads


def our_version() -> str:
    """The commit of this checkout; a + says that there are changes."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() or metadata.version("asyncrl")


if __name__ == "__main__":
    run_script(main)
