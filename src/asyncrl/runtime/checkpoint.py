"""Checkpoints: safetensors and JSON, staged beside their place, checksummed, and published by a rename."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from asyncrl.errors import UserError
from asyncrl.types import EnvironmentInfo

FORMAT_VERSION = 2  # 2: image torsos flatten with channels innermost
TENSORS, STATE = "tensors.safetensors", "state.json"
KEEP = 3


@dataclass(frozen=True)
class Checkpoint:
    """Parameters and optimiser statistics by name, and the run's counts as plain data."""

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes `folder/step-N` for the state's `steps`, keeps the newest three, and returns its path.

    Raises:
        OSError: It could not be written; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{checkpoint.state['steps']:012d}"
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder))
    try:
        data = safetensors.torch.save(dict(checkpoint.tensors))
        state = {"format_version": FORMAT_VERSION, "sha256": hashlib.sha256(data).hexdigest(), **checkpoint.state}
        _write(staging / TENSORS, data)
        _write(staging / STATE, json.dumps(state, indent=1).encode())
        if target.exists():  # resumed, and stopped again before the first update
            target.rename(folder / f".replaced-{target.name}")
        staging.rename(target)
        shutil.rmtree(folder / f".replaced-{target.name}", ignore_errors=True)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _sync_folder(folder)
    for old in checkpoint_folders(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def checkpoint_folders(folder: Path) -> list[Path]:
    """Published checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name))


def load_newest(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint, and a warning for each newer one that is damaged.

    Raises:
        UserError: There is no checkpoint, or all are damaged.
    """
    warnings: list[str] = []
    for path in reversed(checkpoint_folders(folder)):
        try:
            return load_checkpoint(path), warnings
        except UserError as error:
            warnings.append(str(error))
    if warnings:
        raise UserError(f"{warnings[0]}, and there is no older one: train again with --overwrite")
    raise UserError(f"{folder} holds no checkpoint yet: train longer, or start again with --overwrite")


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in that folder; nothing in it is executed.

    Raises:
        UserError: It is damaged or of another format.
    """
    try:
        state = json.loads((path / STATE).read_bytes())
        data = (path / TENSORS).read_bytes()
        version, digest = int(state["format_version"]), state["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the checkpoint {path} is damaged ({type(error).__name__})") from error
    if version > FORMAT_VERSION:
        raise UserError(f"the checkpoint {path} has format {version}, newer than this asyncrl reads: upgrade asyncrl")
    if version < FORMAT_VERSION:
        raise UserError(f"the checkpoint {path} has format {version}, which this asyncrl no longer reads: train again")
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"the checkpoint {path} is damaged (its {TENSORS} was cut or changed)")
    try:
        return Checkpoint(safetensors.torch.load(data), state)
    except Exception as error:  # safetensors raises its own kinds
        raise UserError(f"the checkpoint {path} is damaged ({error})") from error


def load_parameters(network: torch.nn.Module, checkpoint: Checkpoint, info: EnvironmentInfo) -> None:
    """Copies a checkpoint's parameters into a network.

    Raises:
        UserError: The checkpoint belongs to another environment or another network.
    """
    if checkpoint.state.get("environment") != info.id:
        raise UserError(f"the checkpoint was trained on {checkpoint.state.get('environment')}, not on {info.id}")
    prefix = "parameters/"
    saved = {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in saved.items()} != expected:
        raise UserError("the checkpoint's parameters do not fit the run's network: was experiment.yaml changed?")
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(saved[name])


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
