"""`asyncrl eval`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse
from asyncrl.config import check_seed
from asyncrl.errors import UserError
from asyncrl.files import write_text
from asyncrl.run_folder import RunFolder


@dataclass(frozen=True)
class Arguments:
    """Plays whole episodes with a trained agent and prints statistics of their returns.

    A return is the sum of an episode's unclipped rewards. Episodes that do not end are cut off after 30,000 steps.
    """

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    episodes: int = 100
    """Number of episodes to play."""
    deterministic: bool = False
    """Take the most probable action instead of sampling one."""
    checkpoint: str = "last"
    """Checkpoint to load: last, best (highest mean return), or the number of its step."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Your own modules that the run's settings may import. Nothing else in a run folder is ever executed."""
    seed: int = 0
    """Seed for environments and actions."""
    json: bool = False
    """Print one JSON object and nothing else."""
    save: bool = False
    """Save the result as evaluation.json in the run folder. 'asyncrl plot' then uses it as the score of the run."""


def main(arguments: Sequence[str]) -> int:
    """Evaluates, and prints the statistics of the returns."""
    given = parse(Arguments, "eval", arguments)
    if given.episodes < 1:
        raise UserError(f"--episodes must be at least 1, not {given.episodes}")
    check_seed(given.seed)

    import torch

    from asyncrl.agent import load
    from asyncrl.runtime.evaluation import LONGEST_EPISODE

    torch.set_num_threads(1)  # small batches are not faster with more threads
    agent = load(given.run, checkpoint=given.checkpoint, modules=given.imports)
    for warning in agent.warnings:
        print(f"warning: {warning}; using an older one", file=sys.stderr)
    result = agent.evaluate(given.episodes, given.deterministic, given.seed)
    if result.unfinished:
        print(
            f"warning: {result.unfinished} of {result.episodes} episodes had not ended after {LONGEST_EPISODE:,} steps "
            "and count with their return so far: give the environment a time limit",
            file=sys.stderr,
        )
    played = {"steps": agent.steps, "deterministic": given.deterministic, "seed": given.seed}
    text = json.dumps(result.to_dict() | played)
    if given.save:
        write_text(RunFolder(given.run).evaluation_file, f"{text}\n")
    if given.json:
        print(text)
    else:
        count = "1 episode" if result.episodes == 1 else f"{result.episodes} episodes"
        print(
            f"{count} of {agent.info.id}: return {result.return_mean:.2f} ± {result.return_std:.2f} "
            f"(from {result.return_min:g} to {result.return_max:g}), {result.length_mean:.0f} steps each"
        )
    return 0
