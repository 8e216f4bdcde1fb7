"""Folders of many runs: a file that describes the runs, their run folders, and the output of each."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import dacite
import yaml

from asyncrl.config import with_lists
from asyncrl.errors import UserError
from asyncrl.files import write_text
from asyncrl.run_folder import RunFolder, open_run_folder

RUNS = "runs"
LOGS = "logs"


class Described(Protocol):
    """What describes the runs of a folder: a dataclass of plain data."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def environment(self) -> str:
        """Gymnasium id."""


T = TypeVar("T", bound=Described)


@dataclass(frozen=True)
class FolderKind(Generic[T]):
    """Folders whose runs are described by one class, each in a file named after the kind."""

    name: str  # sweep or tuning
    parent: Path  # where such folders are made by default
    description: type[T]

    def file(self, folder: Path) -> Path:
        """The file that describes the runs of a folder."""
        return folder / f"{self.name}.yaml"

    def default(self, asked: T) -> Path:
        """The folder that holds these runs already, or else the first free one of ENV, ENV-2, ENV-3, ...

        A folder whose description is damaged is passed over.
        """
        name = asked.environment.replace("/", "-").replace(":", "-")
        for file in sorted(self.parent.glob(f"*/{self.name}.yaml")):
            with suppress(UserError):
                if _plain(self.read(file.parent)) == _plain(asked):
                    return file.parent
        folders = (self.parent / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
        return next(folder for folder in folders if not folder.exists() or _is_empty(folder))

    def read(self, folder: Path) -> T:
        """The description of the runs of a folder.

        Raises:
            UserError: It cannot be read.
        """
        try:
            data = yaml.safe_load(self.file(folder).read_text("utf-8"))
            config = dacite.Config(strict=True, cast=[tuple], type_hooks={float: float})
            return dacite.from_dict(self.description, data, config)
        except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError, dacite.DaciteError) as error:
            raise UserError(f"the {self.name} in {folder} cannot be read ({error})".replace("\n", " ")) from error

    def open(self, folder: Path, asked: T | None) -> T:
        """The description of the runs of a folder; a new one is written there.

        Args:
            folder: A folder of this kind, an empty one, or one that does not exist yet.
            asked: What the folder must hold, or None to take what is there.

        Raises:
            UserError: The folder holds something else, or nothing and nothing is asked for, or it cannot be read or
                written.
        """
        saved = self.read(folder) if self.file(folder).exists() else None
        described = asked or saved
        if described is None:
            raise UserError(f"there is no {self.name} in {folder}: name an environment to start one")
        if saved and _plain(described) != _plain(saved):
            raise UserError(
                f"{folder} holds another {self.name}: choose another --dir, "
                f"or continue that {self.name} with --dir alone"
            )
        if saved is None and folder.exists() and not _is_empty(folder):
            raise UserError(f"{folder} exists and holds no {self.name}: choose another --dir")
        try:
            for part in (RUNS, LOGS):
                (folder / part).mkdir(parents=True, exist_ok=True)
            if saved is None:
                write_text(self.file(folder), yaml.safe_dump(_plain(described), sort_keys=False))
        except OSError as error:
            raise UserError(f"the {self.name} cannot be written to {folder} ({error.strerror})") from error
        return described


def runs_in(path: Path) -> list[RunFolder]:
    """The runs of a folder of many runs that have started; or the one run, if the folder is that of a run.

    Raises:
        UserError: The folder is neither, or none of its runs has started.
    """
    if not (path / RUNS).is_dir():
        return [open_run_folder(path)]
    runs = [RunFolder(folder) for folder in sorted((path / RUNS).glob("*"))]
    runs = [run for run in runs if run.metrics_file.is_file() and run.experiment_file.is_file()]
    if not runs:
        raise UserError(f"no run in {path} has started yet")
    return runs


def _plain(description: Described) -> dict[str, Any]:
    return with_lists(asdict(description))  # type: ignore[no-any-return]


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
