"""The program that is running, which worker processes import at their start unless it has no file."""

from __future__ import annotations

import ast
import importlib.util
import multiprocessing
import sys
from pathlib import Path
from types import FrameType, ModuleType

from asyncrl.errors import UserError

GUARD = "if __name__ == '__main__':"


def module_name() -> str | None:
    """The name by which other programs can import the running script; None if there is none, as for a notebook."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name)
    if file is None or "." in Path(file).stem:
        return None
    name = Path(file).stem
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return name if found and found.origin and Path(found.origin).absolute() == Path(file).absolute() else None


def check_workers_can_import_it() -> None:
    """Checks that a worker process can import the running script without starting a training of its own.

    Raises:
        UserError: The script comes from standard input, or it trains at its top level without a guard.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker is importing the script
        raise UserError(f'call asyncrl.train under "{GUARD}", because worker processes import your script')
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if file is None or (spec is not None and spec.name.rpartition(".")[2] == "__main__"):
        return  # workers do not import notebooks, `python -c` and `python -m package`
    if not Path(file).is_file():
        raise UserError(
            f"worker processes cannot import a program that comes from {file}: save it as a file, use 'python -c', "
            'or train with runtime="serial"'
        )
    line = _running_line(main)
    if line is not None and not _is_guarded(Path(file), line):
        raise UserError(
            f'{file}, line {line}: put this under "{GUARD}", because worker processes import your script; '
            'or train with runtime="serial"'
        )


def _running_line(main: ModuleType) -> int | None:
    """The line at the script's top level that is being executed; None if that is not in this thread."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals is vars(main) and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guarded(file: Path, line: int) -> bool:
    """Whether the statement at the script's top level in that line compares `__name__` with something.

    A script whose source cannot be read counts as guarded.
    """
    try:
        statements = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return True
    running = [one for one in statements if one.lineno <= line <= (one.end_lineno or one.lineno)]
    comparisons = [node for one in running for node in ast.walk(one) if isinstance(node, ast.Compare | ast.Match)]
    names = [node for comparison in comparisons for node in ast.walk(comparison) if isinstance(node, ast.Name)]
    return not running or any(name.id == "__name__" for name in names)
