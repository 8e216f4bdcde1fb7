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
    """Writes a trained agent as one file that runs without asyncrl and torch."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    format: Literal["onnx"] = "onnx"
    """onnx: for onnxruntime, in many languages."""
    output: Path | None = None
    """The file; by default agent.onnx in the run folder."""
    checkpoint: str = "last"
    """last, best (of the highest mean return), or the step of a checkpoint."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of your own that the run may import: nothing else of a run folder is ever executed."""


def main(arguments: Sequence[str]) -> int:
    """Writes the file and says what goes in and comes out."""
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
