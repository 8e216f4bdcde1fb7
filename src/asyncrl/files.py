"""Reads and writes files so that a crash, a full disk or a reader at the same time never meets half of one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from asyncrl.errors import UserError


def write_text(path: Path, text: str, lasting: bool = True) -> None:
    """Replaces a whole file with a text, as `write_bytes` does."""
    write_bytes(path, text.encode(), lasting)


def write_bytes(path: Path, data: bytes, lasting: bool = True) -> None:
    """Replaces a whole file: readers see either the old bytes or the new ones, never a part.

    Args:
        path: File to replace.
        data: New content.
        lasting: Wait until the content would survive a power failure.

    Raises:
        OSError: The file cannot be written; the old one is still there.
    """
    with replaced(path, lasting) as file:
        file.write(data)


@contextmanager
def replaced(path: Path, lasting: bool = True) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes the place of another one, as a whole, when the block ends.

    Args:
        path: File to replace.
        lasting: Wait until the content would survive a power failure.

    Raises:
        OSError: The file cannot be written; the old one is still there.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staging.open("wb") as file:
            yield file
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def write_new(path: Path, data: bytes, lasting: bool = True) -> None:
    """Writes a file in place; use it where no reader looks yet.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("wb") as file:
        file.write(data)
        if lasting:
            file.flush()
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder would survive a power failure."""
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file of any size, which is read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Waits until the content of a file would survive a power failure."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def read_json(path: Path) -> dict[str, Any] | None:
    """Reads a JSON file; returns None if there is none.

    Raises:
        UserError: The file is damaged.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from error
    return data


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file with one JSON object per line; a last line that is still being written is left out.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__})") from error
