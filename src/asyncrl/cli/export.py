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
    """Exports a trained agent: to a file that runs without asyncrl and torch, or to a small run folder to hand on."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    format: Literal["onnx", "folder"] = "onnx"
    """onnx: one file for onnxruntime, which exists for many languages. folder: a run folder that holds this agent and
    the curves of its training, for all commands except train --resume."""
    output: Path | None = None
    """File or folder to write; by default agent.onnx or agent in the run folder."""
    checkpoint: str = "last"
    """Checkpoint to load: last, best (highest mean return), or the number of its step."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Your own modules that the run's settings may import. Nothing else in a run folder is ever executed."""


def main(arguments: Sequence[str]) -> int:
    """Writes the file, and prints its inputs and outputs, or writes the folder."""
    given = parse(Arguments, "export", arguments)
    return _export_folder(given) if given.format == "folder" else _export_onnx(given)


def _export_onnx(given: Arguments) -> int:
    from asyncrl.agent import load
    from asyncrl.export import ExportedPolicy, export_onnx

    agent = load(given.run, checkpoint=given.checkpoint, modules=given.imports)
    _warn(agent.warnings)
    output = given.output or given.run / "agent.onnx"
    export_onnx(agent, output)
    policy = ExportedPolicy(agent)
    print(f"wrote {output}")
    for name, tensor in policy.example_inputs(1).items():
        shape = ", ".join(["B", *map(str, tensor.shape[1:])])
        print(f"  in:  {name} [{shape}] {str(tensor.dtype).removeprefix('torch.')}")
    print(f"  out: {', '.join(policy.output_names())}")
    return 0


def _export_folder(given: Arguments) -> int:
    from asyncrl.agent_folder import write_agent_folder

    output = given.output or given.run / "agent"
    _warn(write_agent_folder(given.run, output, given.checkpoint))
    size = sum(path.stat().st_size for path in output.rglob("*"))
    print(f"wrote {output}, {size / 1000:,.0f} kB")
    return 0


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}; using an older one", file=sys.stderr)
