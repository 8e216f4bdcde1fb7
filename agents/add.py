"""Adds a trained agent to this folder, or replaces one: the best of some runs, as evaluations say.

python agents/add.py NAME RUN [RUN ...] [--episodes 100]

The last and the best checkpoint of each run play whole episodes, once with drawn and once with greedy actions. The one
with the highest mean return becomes agents/NAME. Its score comes from new episodes, of other seeds than those that
chose it. The table in agents/README.md is written again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from gymnasium.envs.registration import EnvSpec

from asyncrl.agent import load
from asyncrl.agent_folder import write_agent_folder
from asyncrl.algorithms import algorithm_name
from asyncrl.cli import main as asyncrl
from asyncrl.cli.train import experiment_from
from asyncrl.config import GROUPS, Experiment, setting, to_dict
from asyncrl.envs.ids import find_spec
from asyncrl.errors import UserError
from asyncrl.files import write_text
from asyncrl.formatting import duration, short
from asyncrl.resolution import resolve, starting_point
from asyncrl.run_folder import RunFolder, open_run_folder
from asyncrl.sweep.specification import option

AGENTS = Path(__file__).parent
CHOOSING, SCORING = 1_000, 2_000
"""Seeds of the episodes that choose an agent, and of those that give its score."""
PACKAGES = {
    "ale_py": "ale-py",
    "minatar": "minatar",
    "gymnasium.envs.box2d": "box2d",
    "gymnasium.envs.mujoco": "mujoco",
}
"""What an environment is made of besides Gymnasium, by the module that has its class."""
BEGIN, END = "<!-- table: agents/add.py writes it -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Candidate:
    """A checkpoint and a way to act."""

    run: Path
    checkpoint: str
    deterministic: bool

    def mean(self, episodes: int) -> float:
        """Its mean return over the episodes that choose."""
        agent = load(self.run, checkpoint=self.checkpoint)
        return agent.evaluate(episodes, self.deterministic, CHOOSING).return_mean


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    parser.add_argument("--episodes", type=int, default=100, help="in each evaluation")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    add(AGENTS / given.name, given.runs, given.episodes)
    write_table(AGENTS)


def add(target: Path, runs: Sequence[Path], episodes: int) -> None:
    """Writes the best agent of some runs to a folder, with its score, its command and the versions it was scored with.

    Raises:
        UserError: A folder is not a run, or the runs are not of one environment.
    """
    experiments = [open_run_folder(run).read_experiment() for run in runs]
    if len({experiment.environment for experiment in experiments}) > 1:
        raise UserError("the runs are of several environments: name runs of one")
    commands = {run: command_of(experiment) for run, experiment in zip(runs, experiments, strict=True)}
    means: dict[Candidate, float] = {}
    for candidate in candidates(runs):
        means[candidate] = candidate.mean(episodes)
        print(f"{candidate.run} {candidate.checkpoint}, {how(candidate.deterministic)}: {means[candidate]:.4g}")
    chosen = max(means, key=lambda candidate: means[candidate])
    shutil.rmtree(target, ignore_errors=True)
    write_agent_folder(chosen.run, target, chosen.checkpoint)
    greedy = ["--deterministic"] if chosen.deterministic else []
    asyncrl(["eval", str(target), "--episodes", str(episodes), "--seed", str(SCORING), "--save", *greedy])
    made = {
        "command": commands[chosen.run],
        "chosen_from": f"{len(runs)} run{'s' if len(runs) > 1 else ''}",
        "versions": versions(find_spec(experiments[0].environment)),
    }
    write_text(target / "agent.json", json.dumps(made, indent=1) + "\n")


def candidates(runs: Sequence[Path]) -> Iterator[Candidate]:
    """Every way to act of the last and, if it is another one, the best checkpoint of each run."""
    for run in runs:
        checkpoints = ["last"]
        if (RunFolder(run).checkpoints / "best").exists():
            checkpoints += ["best"] if load(run, checkpoint="best").steps != load(run).steps else []
        for checkpoint in checkpoints:
            yield from (Candidate(run, checkpoint, deterministic) for deterministic in (True, False))


def how(deterministic: bool) -> str:
    return "greedy" if deterministic else "drawn"


def command_of(experiment: Experiment) -> str:
    """The command that makes this experiment with the presets as they are now.

    Raises:
        UserError: No command does.
    """
    name, environment = algorithm_name(experiment.algorithm), experiment.environment
    words = [environment]
    if experiment.preset != starting_point(environment).preset:
        words += ["--preset", experiment.preset]
    if name != algorithm_name(starting_point(environment, experiment.preset).algorithm):
        words += ["--algorithm", name]
    usual = values(resolve(starting_point(environment, experiment.preset, name), {}))
    for key, value in values(experiment).items():
        if key == "environment_options":
            pairs = [f"{part}={text(given)}" for part, given in value.items() if usual[key].get(part) != given]
            words += ["--env-option", *pairs] if pairs else []
        elif value != usual[key]:
            words += option(key, text(value))
    if experiment_from(words) != experiment:
        raise UserError(f"'asyncrl train {' '.join(words)}' does not make the experiment of the run")
    return f"asyncrl train {' '.join(words)}"


def values(experiment: Experiment) -> dict[str, Any]:
    """All settings by their own names, except the environment, the algorithm's name and the preset."""
    data = to_dict(experiment)
    parts = [*(data[group] for group in GROUPS), {key: data[key] for key in data if key not in GROUPS}]
    everything = {key: value for part in parts for key, value in part.items()}
    return {key: value for key, value in everything.items() if key not in ("name", "environment", "preset")}


def text(value: Any) -> str:
    """A setting's value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def versions(spec: EnvSpec) -> dict[str, str]:
    """The versions of the packages that an environment is made of."""
    others = [name for module, name in PACKAGES.items() if str(spec.entry_point).startswith(f"{module}.")]
    return {name: version(name) for name in ("gymnasium", *others)}


def write_table(folder: Path) -> None:
    """Writes the table in the folder's README again."""
    page = folder / "README.md"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(page, f"{before}{BEGIN}\n\n{table(folder)}\n\n{END}{after}")


def table(folder: Path) -> str:
    """The table of all agents in a folder, in Markdown."""
    rows = [row(RunFolder(path.parent)) for path in sorted(folder.glob("*/agent.json"))]
    head = ["| agent | plays | algorithm | steps | training | score | actions | trained by |", f"|{'---|' * 8}"]
    return "\n".join([*head, *(f"| {' | '.join(cells)} |" for cells in rows)])


def row(run: RunFolder) -> list[str]:
    """An agent's cells in the table."""
    settings, summary, score = run.read_settings(), run.read_summary() or {}, run.read_evaluation() or {}
    made: Mapping[str, Any] = json.loads((run.path / "agent.json").read_text("utf-8"))
    spread = f"{score['return_mean']:.4g} ± {score['return_std']:.2g}"
    memory = setting(settings, "memory")
    return [
        f"`{run.path.name}`",
        setting(settings, "environment"),
        setting(settings, "algorithm") + ("" if memory == "none" else f", {memory}"),
        short(score["steps"]),
        duration(summary["wall_seconds"]),
        f"{spread} over {score['episodes']} episodes",
        how(score["deterministic"]),
        f"`{made['command']}`",
    ]


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
