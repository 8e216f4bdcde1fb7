"""What the engine asks of a memory, which stands between acting and learning."""

from __future__ import annotations

from collections.abc import Iterable
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
        again. So what is drawn may depend on the target network, but not on θ'.

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
