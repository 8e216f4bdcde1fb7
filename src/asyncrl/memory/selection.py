"""Which items of a replay memory are drawn: each as likely as any other, or in proportion to their priorities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from asyncrl.memory.columns import Arrays
from asyncrl.memory.sum_tree import SumTree

if TYPE_CHECKING:
    import torch

Places = NDArray[np.int64]

OFFSET = 1e-6
"""Added to an error, so that an item without an error can still be drawn."""


class Selection(Protocol):
    """Knows which places [0, room) of a memory hold items, and draws some of them."""

    items: int
    """Number of items to draw from."""
    unevenness: float | None
    """How many times more often than with equal chances the items of the last minibatch are drawn, as a mean; its
    expectation is N Σ_i P(i)². None where all are drawn alike."""

    def insert(self, places: Places) -> None:
        """Adds items; a place is taken for the first time in the order of its number."""
        ...

    def remove(self, places: Places) -> None:
        """Removes what lies at some places; places without an item are left out."""
        ...

    def draw(self, number: int, random: torch.Generator, fraction: float) -> tuple[Places, NDArray[np.float32]]:
        """Draws items with replacement.

        Args:
            number: How many.
            random: Generator of the choices.
            fraction: Share of the run that is done, in [0, 1].

        Returns:
            Their places [number], and the weights of their losses [number].
        """
        ...

    def update(self, places: Places, errors: NDArray[np.float32]) -> None:
        """Takes in the absolute TD errors [N] of items that were learned."""
        ...

    def arrays(self) -> Arrays:
        """Everything it keeps, for `restore`."""
        ...

    def restore(self, arrays: Arrays) -> None:
        """Goes on from what `arrays` gave."""
        ...


class Uniform:
    """Each item is as likely as any other (Mnih et al. 2013).

    Args:
        room: Largest number of items.
    """

    def __init__(self, room: int) -> None:
        self.unevenness: float | None = None
        self.present = np.zeros(room, np.bool_)
        self.items, self.used = 0, 0  # all places from `used` on are still empty

    def insert(self, places: Places) -> None:
        """Adds items."""
        self.present[places] = True
        self.items += len(places)
        self.used = max(self.used, int(places.max(initial=-1)) + 1)

    def remove(self, places: Places) -> None:
        """Removes items."""
        self.items -= int(self.present[places].sum())
        self.present[places] = False

    def draw(self, number: int, random: torch.Generator, fraction: float) -> tuple[Places, NDArray[np.float32]]:
        """Draws items with equal weights."""
        import torch

        places = np.empty(0, np.int64)
        while len(places) < number:  # few places in use are without an item: the dummy steps after episodes
            some = torch.randint(self.used, (number,), generator=random).numpy()
            places = np.concatenate([places, some[self.present[some]]])
        return places[:number], np.ones(number, np.float32)

    def update(self, places: Places, errors: NDArray[np.float32]) -> None:
        """Needs nothing."""

    def arrays(self) -> Arrays:
        """Which places hold items, and how many places were used."""
        return {"present": self.present, "used": np.array(self.used)}

    def restore(self, arrays: Arrays) -> None:
        """Goes on from what `arrays` gave."""
        self.present[:] = arrays["present"]
        self.items, self.used = int(self.present.sum()), int(arrays["used"])


class Prioritized:
    """Prioritized experience replay (Schaul et al. 2016): P(i) = p_i^α / Σ_k p_k^α.

    Proportional priorities are p_i = |δ_i| + ε. Rank-based ones are p_i = 1 / rank(i) in the order of falling |δ|. New
    items have the largest priority so far, so that each is learned soon. A loss is weighted by (N · P(i))^-β, divided
    by the largest weight of its minibatch. β rises linearly to 1 at the end of the run.

    Deviation: the order of rank-based priorities is renewed when as many errors were updated as there are items. In
    between, an updated item takes the rank that its error has in the last order.

    Args:
        room: Largest number of items.
        by_rank: Use rank-based priorities.
        exponent: How much priorities count [α]; 0 draws all items alike.
        importance_exponent: How much of the bias is corrected at the start of the run [β].
    """

    def __init__(self, room: int, by_rank: bool, exponent: float, importance_exponent: float) -> None:
        self.by_rank, self.exponent, self.importance_exponent = by_rank, exponent, importance_exponent
        self.tree = SumTree(room)  # of p^α
        self.errors = np.zeros(room, np.float32)
        self.order = np.empty(0, np.float32)  # negative errors, rising
        self.items, self.updated, self.largest = 0, 0, 1.0
        self.unevenness: float | None = None

    def insert(self, places: Places) -> None:
        """Adds items with the largest priority."""
        self.tree[places] = self.largest
        self.errors[places] = np.inf
        self.items += len(places)

    def remove(self, places: Places) -> None:
        """Removes items."""
        self.items -= int((self.tree[places] > 0).sum())
        self.tree[places] = 0.0

    def draw(self, number: int, random: torch.Generator, fraction: float) -> tuple[Places, NDArray[np.float32]]:
        """Draws one item from each of `number` equal parts of the sum of priorities."""
        import torch

        parts = (np.arange(number) + torch.rand(number, generator=random, dtype=torch.float64).numpy()) / number
        places = self.tree.find(parts * self.tree.total)
        chances = self.items * self.tree[places] / self.tree.total  # N · P(i)
        self.unevenness = float(chances.mean())
        beta = self.importance_exponent + (1 - self.importance_exponent) * fraction
        weights = chances**-beta
        return places, (weights / weights.max()).astype(np.float32)

    def update(self, places: Places, errors: NDArray[np.float32]) -> None:
        """Takes in the absolute TD errors [N] of items that were learned."""
        self.errors[places] = errors
        weights = self._weights(errors)
        self.tree[places] = weights
        self.largest = max(self.largest, float(weights.max()))
        self.updated += len(places)
        if self.by_rank and self.updated >= self.items:
            self._renew_order()

    def _weights(self, errors: NDArray[np.float32]) -> NDArray[np.float64]:
        """p^α of items with these errors."""
        if self.by_rank:
            ranks = 1 + np.searchsorted(self.order, -errors)
            return np.asarray(ranks, np.float64) ** -self.exponent
        return np.asarray(errors + OFFSET, np.float64) ** self.exponent

    def _renew_order(self) -> None:
        present = np.flatnonzero(self.tree[np.arange(self.tree.leaves)] > 0)
        present = present[np.argsort(-self.errors[present], kind="stable")]
        self.order, self.updated = -self.errors[present], 0
        self.tree[present] = np.arange(1, len(present) + 1, dtype=np.float64) ** -self.exponent

    def arrays(self) -> Arrays:
        """Priorities and errors."""
        counts = np.array([self.items, self.updated, self.largest], np.float64)
        leaves = self.tree[np.arange(self.tree.leaves)]
        return {"leaves": leaves, "errors": self.errors, "order": self.order, "counts": counts}

    def restore(self, arrays: Arrays) -> None:
        """Goes on from what `arrays` gave."""
        self.tree[np.arange(self.tree.leaves)] = arrays["leaves"]
        self.errors[:], self.order = arrays["errors"], arrays["order"]
        self.items, self.updated, self.largest = int(arrays["counts"][0]), int(arrays["counts"][1]), arrays["counts"][2]
