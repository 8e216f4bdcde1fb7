"""The command line: one file per command, which parses, calls and prints."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence

from asyncrl.errors import RunError, UserError

COMMANDS = {
    "train": "train an agent on a Gymnasium environment",
    "eval": "play whole episodes with a trained agent and print its returns",
    "watch": "see an agent play: in a window, as a video file, or in a browser",
    "inspect": "write a page that shows what an agent learned: a video, saliency, filters, maps",
    "export": "write a trained agent as an ONNX file, which runs without asyncrl and torch",
    "plot": "draw the learning curves of one or many runs",
    "sweep": "make many runs: a grid or random draws of settings, times seeds",
    "bench": "measure training beside the raw environment, and beside other packages",
    "presets": "list the named settings",
    "algorithms": "list the algorithms",
    "doctor": "check that this machine is fit for training",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 failed, 2 bad input, 130 or 143 stopped by a signal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows another
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        from asyncrl import __version__

        print(f"asyncrl {__version__}")
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
    except BrokenPipeError:  # the reader of our output has gone, as in `asyncrl presets | head -1`
        _flush()
        return 0


def _flush() -> None:
    """Writes what is left of the output, if anybody reads it."""
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
