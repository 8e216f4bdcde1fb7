"""Checkpoints: safetensors and JSON with checksums, written to a staging folder and published by a rename."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dacite
import safetensors.torch
import torch
from torch import Tensor

from asyncrl.envs.spaces import info_from_dict, info_to_dict
from asyncrl.errors import UserError
from asyncrl.files import digest, sync_file, sync_folder, write_new
from asyncrl.runtime.telemetry import TelemetryState
from asyncrl.tree import unpack
from asyncrl.types import EnvironmentInfo

FORMAT_VERSION = 4
OLDEST_VERSION = 2  # before it, image torsos flattened with channels outermost
TENSORS, STATE = "tensors.safetensors", "state.json"
PARAMETERS = "parameters"
"""Prefix of the tensors that an agent acts with."""
BEST, LAST = "best", "last"
_STAGING, _REPLACED = ".staging-", ".replaced-"


@dataclass(frozen=True)
class CheckpointState:
    """What a run needs besides tensors in order to continue."""

    environment: str  # full Gymnasium id
    algorithm: str
    optimizer: str
    steps: int
    updates: int
    sessions: int
    telemetry: TelemetryState
    target_refreshed_at: int = 0  # global step
    score: float | None = None  # mean return; None before the first episode
    score_is_evaluated: bool = False  # otherwise the score is the mean of the last 100 training episodes
    workers: dict[str, tuple[int, int]] = field(default_factory=dict)  # serial workers: number to session and attempt
    environment_info: EnvironmentInfo | None = None  # None in formats 2 and 3, which do not have it
    goal_wait_until: int = 0  # global step before which no evaluation checks the goal
    goal_reached: float | None = None  # mean return of the evaluation in which this agent reached the run's goal

    def __post_init__(self) -> None:
        if min(self.steps, self.updates, self.sessions) < 0:
            raise ValueError("steps, updates and sessions must not be negative")


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors and the run's counts, and large data in files of their own.

    Files never pass through memory as a whole. To save one, put a function that writes it to a given path into
    `files`; if the function writes nothing, the checkpoint is saved without that file.
    """

    tensors: Mapping[str, Tensor]
    state: CheckpointState
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)  # to save: writers by file name
    paths: Mapping[str, Path] = field(default_factory=dict)  # loaded: verified files by name


def save_checkpoint(folder: Path, checkpoint: Checkpoint, name: str | None = None) -> Path:
    """Writes a checkpoint to `folder/step-N`, or to `folder/name` if there is a name, and returns that path.

    Raises:
        OSError: It could not be written; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or f"step-{checkpoint.state.steps:012d}")
    staging, replaced = folder / f"{_STAGING}{target.name}", folder / f"{_REPLACED}{target.name}"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        _write(staging, checkpoint)
        sync_folder(staging)
        if target.exists():
            target.rename(replaced)  # `clean_up` brings it back if the next line is never reached
        staging.rename(target)
    except BaseException:
        clean_up(folder)
        raise
    sync_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return target


def clean_up(folder: Path) -> None:
    """Removes what interrupted saves left behind; only the process that holds the run's lock may call it."""
    for path in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{_REPLACED}*"):
        target = folder / path.name.removeprefix(_REPLACED)
        if target.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(target)


def set_aside_newer(folder: Path, steps: int) -> None:
    """Renames checkpoints after a step to `damaged-step-N`.

    A run that continues from that step would otherwise take them for its newest ones.
    """
    for path in checkpoint_folders(folder):
        if step_of(path) > steps:
            target = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(target, ignore_errors=True)
            path.rename(target)


def prune(folder: Path, keep_last: int, keep_every: int | None) -> None:
    """Deletes old checkpoints: the newest `keep_last`, the best, and the first of each `keep_every` steps stay."""
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
    """Returns the folders of all checkpoints except the best one, oldest first."""
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{1,18}", path.name))


def step_of(path: Path) -> int:
    """Returns the step at which the checkpoint in a folder `step-N` was made."""
    return int(path.name.removeprefix("step-"))


def load_newest(folder: Path, with_files: bool = True) -> tuple[Checkpoint, list[str]]:
    """Loads the newest checkpoint that is not damaged, and returns it with a warning for each newer one that is.

    Args:
        folder: Checkpoint folder of a run.
        with_files: As in `load_checkpoint`.

    Raises:
        UserError: There is no checkpoint, or all are damaged.
    """
    warnings: list[str] = []
    for path in reversed(checkpoint_folders(folder)):
        try:
            return load_checkpoint(path, with_files), warnings
        except UserError as error:
            warnings.append(str(error))
    if warnings:
        raise UserError(f"{warnings[0]}, and there is no older one: train again with --overwrite")
    raise UserError(f"{folder} holds no checkpoint yet: train longer, or start again with --overwrite")


def load_chosen(folder: Path, which: str) -> tuple[Checkpoint, list[str]]:
    """Loads the checkpoint that somebody chose to act with, and returns it with warnings as `load_newest` does.

    Its files are left out, because only a run that continues needs them.

    Args:
        folder: Checkpoint folder of a run.
        which: `last`, `best`, or a step.

    Raises:
        UserError: There is no such checkpoint, or it is damaged.
    """
    if which == LAST:
        return load_newest(folder, with_files=False)
    if which == BEST:
        if not (folder / BEST).exists():
            raise UserError(f"{folder} holds no best checkpoint yet: use --checkpoint last")
        return load_checkpoint(folder / BEST, with_files=False), []
    folders = {step_of(path): path for path in checkpoint_folders(folder)}
    if not which.isascii() or not which.isdecimal() or int(which) not in folders:
        steps = ", ".join(map(str, folders)) or "none"
        raise UserError(f"{folder} holds no checkpoint {which!r}: choose best, last, or one of the steps {steps}")
    return load_checkpoint(folders[int(which)], with_files=False), []


def load_checkpoint(path: Path, with_files: bool = True) -> Checkpoint:
    """Loads the checkpoint in a folder; nothing in it is executed.

    Args:
        path: Folder of one checkpoint.
        with_files: Verify the files beside the tensors and return their paths. This reads them completely.

    Raises:
        UserError: The checkpoint is damaged or has an unknown format.
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
        if version == 2:
            return _read_format_2(header, data)
        digests = header["sha256"] if version > 3 else {**header["sha256"], "files": {}}
        checkpoint = _read(header["state"], data, digests)
        return dataclasses.replace(checkpoint, paths=_verified(path, digests["files"]) if with_files else {})
    except Exception as error:  # safetensors and dacite raise exceptions of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"the checkpoint {path} is damaged ({reason})") from error


def load_parameters(network: torch.nn.Module, checkpoint: Checkpoint, info: EnvironmentInfo) -> None:
    """Copies the parameters of a checkpoint into a network.

    Raises:
        UserError: The checkpoint belongs to another environment or another network.
    """
    if checkpoint.state.environment != info.id:
        raise UserError(f"the checkpoint was trained on {checkpoint.state.environment}, not on {info.id}")
    saved = unpack(PARAMETERS, checkpoint.tensors)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in saved.items()} != expected:
        raise UserError("the checkpoint's parameters do not fit the run's network: was experiment.yaml changed?")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in saved.values()):
        raise UserError("the checkpoint's parameters are not finite numbers: take an older one, or train again")
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(saved[name])


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    for name, write in checkpoint.files.items():
        write(_beside(folder, name))
    files = {name: folder / name for name in checkpoint.files if (folder / name).exists()}
    for path in files.values():
        sync_file(path)
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()})
    write_new(folder / TENSORS, data)
    state = _state_to_dict(checkpoint.state)
    digests = {
        "tensors": _digest(data),
        "state": _digest(_state_text(state)),
        "files": {name: digest(path) for name, path in files.items()},
    }
    header = {"format_version": FORMAT_VERSION, "sha256": digests, "state": state}
    write_new(folder / STATE, json.dumps(header, indent=1).encode())


def _verified(folder: Path, digests: Mapping[str, str]) -> dict[str, Path]:
    """Returns the paths of a checkpoint's files after a look at their checksums."""
    paths = {name: _beside(folder, name) for name in digests}
    for name, path in paths.items():
        if not path.is_file() or digest(path) != digests[name]:
            raise ValueError(f"its {name} is missing or was changed")
    return paths


def _beside(folder: Path, name: str) -> Path:
    if not re.fullmatch(r"\w[\w.-]*", name) or name in (TENSORS, STATE):
        raise ValueError(f"{name!r} is no name for a file in a checkpoint")
    return folder / name


def _read(state: dict[str, Any], data: bytes, digests: Mapping[str, str]) -> Checkpoint:
    if _digest(data) != digests["tensors"]:
        raise ValueError(f"its {TENSORS} was cut or changed")
    if _digest(_state_text(state)) != digests["state"]:
        raise ValueError(f"its {STATE} was changed")
    return Checkpoint(safetensors.torch.load(data), _state_from_dict(state))


def _read_format_2(header: Mapping[str, Any], data: bytes) -> Checkpoint:
    """Reads format 2, in which the moments of all workers were combined and the state had no checksum."""
    if _digest(data) != header["sha256"]:
        raise ValueError(f"its {TENSORS} was cut or changed")
    state = {name: value for name, value in header.items() if name not in ("format_version", "sha256")}
    tensors = safetensors.torch.load(data)
    if "moments/count" in tensors:
        parts = [tensors.pop(f"moments/{name}") for name in ("count", "mean", "squares")]
        tensors["moments"] = torch.cat([part.reshape(-1) for part in parts])[None]
    return Checkpoint(tensors, _state_from_dict({**state, "target_refreshed_at": state["steps"]}))


def _state_to_dict(state: CheckpointState) -> dict[str, Any]:
    info = state.environment_info
    data = dataclasses.asdict(dataclasses.replace(state, environment_info=None))
    return data if info is None else {**data, "environment_info": info_to_dict(info)}


def _state_from_dict(data: Mapping[str, Any]) -> CheckpointState:
    hooks: dict[type, Callable[[Any], Any]] = {float: float, EnvironmentInfo: info_from_dict}
    return dacite.from_dict(CheckpointState, data, dacite.Config(strict=True, cast=[tuple], type_hooks=hooks))


def _state_text(state: dict[str, Any]) -> bytes:
    return json.dumps(state, indent=1).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
