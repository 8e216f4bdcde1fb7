"""`asyncrl export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse


@dataclass(frozen=True)
class Arguments:
    """Exports a trained agent to a single file that runs without asyncrl and torch."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    format: Literal["onnx"] = "onnx"
    """File format. onnx: for onnxruntime, which exists for many languages."""
    output: Path | None = None
    """File to write; by default agent.onnx in the run folder."""
    checkpoint: str = "last"
    """Checkpoint to load: last, best (highest mean return), or the number of its step."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Your own modules that the run's settings may import. Nothing else in a run folder is ever executed."""


def main(arguments: Sequence[str]) -> int:
    """Writes the file, and prints its inputs and outputs."""
    given = parse(Arguments, "export", arguments)

    from asyncrl.agent import load
    from asyncrl.export import ExportedPolicy, export_onnx

    agent = load(given.run, checkpoint=given.checkpoint, modules=given.imports)
    for warning in agent.warnings:
        print(f"warning: {warning}; using an older one", file=sys.stderr)
    output = given.output or given.run / "agent.onnx"
    export_onnx(agent, output)
    policy = ExportedPolicy(agent)
    print(f"wrote {output}")
    for name, tensor in policy.example_inputs(1).items():
        shape = ", ".join(["B", *map(str, tensor.shape[1:])])
        print(f"  in:  {name} [{shape}] {str(tensor.dtype).removeprefix('torch.')}")
    print(f"  out: {', '.join(policy.output_names())}")
    return 0
