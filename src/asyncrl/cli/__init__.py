"""The command line. Each command has a module that parses its arguments, calls the package and prints."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from asyncrl.errors import RunError, UserError

COMMANDS = {
    "train": "train an agent on a Gymnasium environment",
    "eval": "play whole episodes with a trained agent and print their returns",
    "watch": "watch an agent play: in a window, a video file or a browser",
    "inspect": "write a page that shows what an agent learned",
    "export": "export a trained agent: to ONNX, or as a small run folder to hand on",
    "plot": "plot the learning curves of one or many runs",
    "sweep": "make many runs: a grid or random draws of settings, and seeds",
    "tune": "search good settings, and write the best ones as a preset",
    "bench": "compare the speed of training with that of the raw environment",
    "presets": "list the presets, which are named settings",
    "algorithms": "list the algorithms",
    "doctor": "check this machine, or find what may be wrong with a run",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code. 0: done, 1: failed, 2: bad input, 130 or 143: stopped by a signal.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # characters that the terminal cannot show are replaced
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"asyncrl {version('asyncrl')}")
        return 0
    try:
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean 'asyncrl {near[0]}'?" if near else "'asyncrl --help' lists all"
            raise UserError(f"unknown command {name!r}: {hint}")
        code: int = importlib.import_module(f"asyncrl.cli.{name}").main(rest)
        _flush()
        return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # nobody reads the output any more, as in `asyncrl presets | head -1`
        _flush()
        return 0


def _flush() -> None:
    """Writes the rest of the output, if anybody still reads it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _help() -> str:
    commands = "\n".join(f"  {name:<12}{text}" for name, text in COMMANDS.items())
    return f"""asyncrl: asynchronous deep reinforcement learning on the CPU cores you have

usage: asyncrl COMMAND ...      ('asyncrl COMMAND --help' for its options)

{commands}

start with:  asyncrl train CartPole-v1"""
