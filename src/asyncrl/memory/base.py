"""What the engine asks of a memory, which stands between acting and learning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch

    from asyncrl.networks.assemble import Networks
    from asyncrl.types import Progress, Rollout


class Memory(Protocol):
    """One worker's memory: it takes in each rollout and says what to learn from."""

    def add(self, rollout: Rollout) -> None:
        """Takes in the latest rollout.

        The rollout is a view of a buffer that the next one overwrites: copy what should last (`Rollout.kept`).
        """
        ...

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterable[Any]:
        """What to learn from now: the algorithm's loss is computed and pushed for one item after the other.

        The first item after `add` is learned with the parameters θ' that acted; before each further item θ' is read
        again. So what is computed before the first item may depend on the θ' that acted, and what is drawn later may
        depend on the target network.

        Args:
            networks: The worker's networks.
            random: Generator of all random choices.
            progress: How far the run has come, for schedules.
        """
        ...

    def learned(self, experience: Any, feedback: Any) -> None:
        """Hears that an item was learned.

        Args:
            experience: The item that `draw` gave.
            feedback: What the loss says of it (`Loss.feedback`), such as new priorities.
        """
        ...


@runtime_checkable
class SavedMemory(Protocol):
    """A memory that a serial run can save beside its checkpoints, so that a resumed run goes on to the bit."""

    def save(self, file: Path) -> None:
        """Writes all of it to a file; nothing if there is nothing to keep."""
        ...

    def load(self, file: Path) -> None:
        """Reads what `save` wrote; it is not called if `save` wrote nothing."""
        ...


class Copy(Protocol):
    """A copy of a memory on disk, which follows the memory while its worker works."""

    def grow(self) -> None:
        """Writes what is new, if it is enough to be worth a file; it is called after each rollout.

        Raises:
            OSError: It could not be written.
        """
        ...

    def save(self) -> None:
        """Brings the copy up to date.

        Raises:
            OSError: It could not be written; the copy is as it was.
        """
        ...

    def load(self, alive: Callable[[], None]) -> None:
        """Fills the memory, which is still empty, from its copy, for environments that begin new episodes.

        Args:
            alive: Is to be called every now and then, as a sign of life.

        Raises:
            UserError: There is no copy that can be used; the memory is empty then.
        """
        ...


@runtime_checkable
class CopiedMemory(Protocol):
    """A memory that worker processes can keep a copy of on disk, so that a resumed run has it again."""

    def on_disk(self, folder: Path) -> Copy:
        """What keeps a copy in a folder that belongs to this memory alone and may not exist yet."""
        ...
