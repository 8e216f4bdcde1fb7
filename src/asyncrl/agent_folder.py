"""Copies the agent of a run into a small run folder of its own, which can be handed on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asyncrl.errors import UserError
from asyncrl.files import write_bytes, write_text
from asyncrl.run_folder import RunFolder, open_run_folder
from asyncrl.runtime.checkpoint import PARAMETERS, Checkpoint, load_chosen, save_checkpoint
from asyncrl.runtime.reward_normalizer import RETURN_MOMENTS

MOST_LINES = 100
"""Lines of metrics that are kept, evenly spread over the run: enough for its curves."""


def write_agent_folder(run: Path, output: Path, checkpoint: str = "last") -> list[str]:
    """Writes a run folder that holds one agent, with the settings and the curves of the run that trained it.

    All that reads run folders reads it too. Statistics of the optimiser, target networks and memories are left out, so
    the agent cannot be trained further. No module that the settings name is imported.

    Args:
        run: Run folder.
        output: Folder to make; it may exist if it is empty.
        checkpoint: `last`, `best`, or a step.

    Returns:
        Why newer checkpoints were not taken.

    Raises:
        UserError: The folder is not a run, it has no such checkpoint, or the other one cannot be written.
    """
    source, target = open_run_folder(run), RunFolder(output)
    source.read_settings()
    chosen, warnings = load_chosen(source.checkpoints, checkpoint)
    summary, lines = source.read_summary(), source.read_metrics() if source.metrics_file.exists() else []
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists: choose another --output, or take it away")
    try:
        output.mkdir(parents=True, exist_ok=True)
        save_checkpoint(target.checkpoints, agent_only(chosen))
        write_bytes(target.experiment_file, source.experiment_file.read_bytes())
        write_text(target.metrics_file, "".join(json.dumps(line) + "\n" for line in spread(lines, MOST_LINES)))
        if source.evaluations_file.exists():
            shutil.copyfile(source.evaluations_file, target.evaluations_file)
        if summary is not None:
            target.write_summary(summary)
    except OSError as error:
        raise UserError(f"cannot write to {output} ({error.strerror}): choose another --output") from error
    return warnings


def agent_only(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with what an agent needs in order to act and to judge, and nothing else."""
    tensors = {
        name: tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(f"{PARAMETERS}/") or name == RETURN_MOMENTS
    }
    return Checkpoint(tensors, replace(checkpoint.state, workers={}))


def spread(lines: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """At most that many of the lines, evenly spread, with the first and the last one."""
    if len(lines) <= most:
        return list(lines)
    return [lines[round(number * (len(lines) - 1) / (most - 1))] for number in range(most)]
