"""Checkpoints: safetensors and JSON, staged beside their place, checksummed, and published by a rename."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dacite
import safetensors.torch
import torch
from torch import Tensor

from asyncrl.errors import UserError
from asyncrl.runtime.telemetry import TelemetryState
from asyncrl.types import EnvironmentInfo

FORMAT_VERSION = 3
OLDEST_VERSION = 2  # before it, image torsos flattened with channels outermost
TENSORS, STATE = "tensors.safetensors", "state.json"
BEST, LAST = "best", "last"
_STAGING, _REPLACED = ".staging-", ".replaced-"


@dataclass(frozen=True)
class CheckpointState:
    """What a run needs beside tensors to go on, as plain data."""

    environment: str  # the full id
    algorithm: str
    optimizer: str
    steps: int
    updates: int
    sessions: int
    telemetry: TelemetryState
    target_refreshed_at: int = 0  # global step
    score: float | None = None  # mean return; None if there is none
    score_is_evaluated: bool = False  # else it is of the last 100 training episodes
    goal_wait_until: int = 0  # global step before which no evaluation checks the goal
    goal_reached: float | None = None  # mean return of the evaluation in which this agent reached the run's goal
    workers: dict[str, tuple[int, int]] = field(default_factory=dict)  # serial ones: number, session and attempt

    def __post_init__(self) -> None:
        if min(self.steps, self.updates, self.sessions) < 0:
            raise ValueError("counts are not negative")


@dataclass(frozen=True)
class Checkpoint:
    """Parameters and optimiser statistics by name, and the run's counts."""

    tensors: Mapping[str, Tensor]
    state: CheckpointState


def save_checkpoint(folder: Path, checkpoint: Checkpoint, name: str | None = None) -> Path:
    """Writes `folder/step-N` for the state's steps, or the folder of that name, and returns its path.

    Raises:
        OSError: It could not be written; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or f"step-{checkpoint.state.steps:012d}")
    staging, replaced = folder / f"{_STAGING}{target.name}", folder / f"{_REPLACED}{target.name}"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        data = _as_bytes(checkpoint.tensors)
        state = json.dumps(dataclasses.asdict(checkpoint.state), indent=1)
        digests = {"tensors": _digest(data), "state": _digest(state.encode())}
        _write(staging / TENSORS, data)
        header = {"format_version": FORMAT_VERSION, "sha256": digests, "state": json.loads(state)}
        _write(staging / STATE, json.dumps(header, indent=1).encode())
        _sync_folder(staging)
        if target.exists():
            target.rename(replaced)  # `clean_up` brings it back if the next line is never reached
        staging.rename(target)
    except BaseException:
        clean_up(folder)
        raise
    _sync_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return target


def clean_up(folder: Path) -> None:
    """Takes away what a save left that came to no end; only for who holds the lock of the run."""
    for path in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{_REPLACED}*"):
        target = folder / path.name.removeprefix(_REPLACED)
        if target.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(target)


def set_aside_newer(folder: Path, steps: int) -> None:
    """Renames checkpoints beyond a step to `damaged-step-N`.

    A run that goes on before them would take them for its newest ones.
    """
    for path in checkpoint_folders(folder):
        if step_of(path) > steps:
            target = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(target, ignore_errors=True)
            path.rename(target)


def prune(folder: Path, keep_last: int, keep_every: int | None) -> None:
    """Deletes all checkpoints but the newest, the best, and the first one of each `keep_every` steps."""
    saved = checkpoint_folders(folder)
    kept = set(saved[-keep_last:])
    groups: set[int] = {0}
    for path in saved:
        group = step_of(path) // keep_every if keep_every else 0
        if group not in groups:
            groups.add(group)
            kept.add(path)
    for path in saved:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def checkpoint_folders(folder: Path) -> list[Path]:
    """Published checkpoints by step, oldest first; the best one is not among them."""
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{1,18}", path.name))


def step_of(path: Path) -> int:
    """The step at which a checkpoint was made."""
    return int(path.name.removeprefix("step-"))


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


def load_chosen(folder: Path, which: str) -> tuple[Checkpoint, list[str]]:
    """The checkpoint that `which` names, and a warning for each newer one that is damaged.

    Args:
        folder: Of a run's checkpoints.
        which: `last`, `best`, or a step.

    Raises:
        UserError: There is none of that name, or it is damaged.
    """
    if which == LAST:
        return load_newest(folder)
    if which == BEST:
        if not (folder / BEST).exists():
            raise UserError(f"{folder} holds no best checkpoint yet: take --checkpoint last")
        return load_checkpoint(folder / BEST), []
    steps = [step_of(path) for path in checkpoint_folders(folder)]
    if not which.isascii() or not which.isdecimal() or int(which) not in steps:
        there = ", ".join(map(str, steps)) or "none"
        raise UserError(f"{folder} holds no checkpoint {which!r}: choose best, last, or one of the steps {there}")
    return load_checkpoint(checkpoint_folders(folder)[steps.index(int(which))]), []


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in that folder; nothing in it is executed.

    Raises:
        UserError: It is damaged or of another format.
    """
    try:
        header = json.loads((path / STATE).read_bytes())
        data = (path / TENSORS).read_bytes()
        version = header["format_version"]
        if not isinstance(version, int):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"the checkpoint {path} is damaged ({type(error).__name__})") from error
    if version > FORMAT_VERSION:
        raise UserError(f"the checkpoint {path} has format {version}, newer than this asyncrl reads: upgrade asyncrl")
    if version < OLDEST_VERSION:
        raise UserError(f"the checkpoint {path} has format {version}, which this asyncrl no longer reads: train again")
    try:
        return _read_format_2(header, data) if version == 2 else _read(header, data)
    except Exception as error:  # safetensors and dacite raise their own kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"the checkpoint {path} is damaged ({reason})") from error


def load_parameters(network: torch.nn.Module, checkpoint: Checkpoint, info: EnvironmentInfo) -> None:
    """Copies a checkpoint's parameters into a network.

    Raises:
        UserError: The checkpoint belongs to another environment or another network.
    """
    if checkpoint.state.environment != info.id:
        raise UserError(f"the checkpoint was trained on {checkpoint.state.environment}, not on {info.id}")
    prefix = "parameters/"
    saved = {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in saved.items()} != expected:
        raise UserError("the checkpoint's parameters do not fit the run's network: was experiment.yaml changed?")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in saved.values()):
        raise UserError("the checkpoint's parameters are not finite numbers: take an older one, or train again")
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(saved[name])


def _read(header: Mapping[str, Any], data: bytes) -> Checkpoint:
    digests = header["sha256"]
    if _digest(data) != digests["tensors"]:
        raise ValueError(f"its {TENSORS} was cut or changed")
    if _digest(json.dumps(header["state"], indent=1).encode()) != digests["state"]:
        raise ValueError(f"its {STATE} was changed")
    return Checkpoint(safetensors.torch.load(data), _state(header["state"]))


def _read_format_2(header: Mapping[str, Any], data: bytes) -> Checkpoint:
    """Format 2 had the moments of all workers put together, and no checksum of the state."""
    if _digest(data) != header["sha256"]:
        raise ValueError(f"its {TENSORS} was cut or changed")
    state = {name: value for name, value in header.items() if name not in ("format_version", "sha256")}
    tensors = safetensors.torch.load(data)
    if "moments/count" in tensors:
        parts = [tensors.pop(f"moments/{name}") for name in ("count", "mean", "squares")]
        tensors["moments"] = torch.cat([part.reshape(-1) for part in parts])[None]
    return Checkpoint(tensors, _state({**state, "target_refreshed_at": state["steps"]}))


def _state(data: Mapping[str, Any]) -> CheckpointState:
    return dacite.from_dict(CheckpointState, data, dacite.Config(strict=True, cast=[tuple], type_hooks={float: float}))


def _as_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
