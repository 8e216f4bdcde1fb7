"""A tree of sums: draws leaves in proportion to their weights in O(log N) (Schaul et al. 2016, Appendix B.2.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Leaves = NDArray[np.int64]
Weights = NDArray[np.float64]


class SumTree:
    """Weights of N leaves, and their sums in a binary tree that lies in one array.

    Node k has the children 2k and 2k + 1; the root is node 1, and leaf i is node `first_leaf` + i. All operations take
    whole batches, and cost a few array operations for each of the tree's levels.

    Args:
        leaves: Number of leaves N; their weights are 0 at first.
    """

    def __init__(self, leaves: int) -> None:
        self.leaves = leaves
        self.levels = max(leaves - 1, 1).bit_length()
        self.first_leaf = 1 << self.levels
        self.nodes = np.zeros(2 * self.first_leaf)

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(self.nodes[1])

    def __getitem__(self, leaves: Leaves) -> Weights:
        """Weights of some leaves."""
        weights: Weights = self.nodes[self.first_leaf + leaves]
        return weights

    def __setitem__(self, leaves: Leaves, weights: Weights | float) -> None:
        """Sets the weights of some leaves and all sums above them. A leaf that is named twice gets its last weight."""
        nodes = self.first_leaf + leaves
        self.nodes[nodes] = weights
        for _ in range(self.levels):
            nodes = nodes >> 1
            if len(nodes) > 64:  # many leaves share their parents
                nodes = np.unique(nodes)
            left = nodes << 1
            self.nodes[nodes] = self.nodes[left] + self.nodes[left + 1]

    def find(self, sums: Weights) -> Leaves:
        """The leaves at which the running sum of all weights passes the given numbers in [0, total)."""
        nodes, rest = np.ones(len(sums), np.int64), sums.copy()
        for _ in range(self.levels):
            left = nodes << 1
            in_left = self.nodes[left]
            # an empty right half is never entered, whatever rounding did to the sums
            right = (rest >= in_left) & (self.nodes[left + 1] > 0)
            rest -= np.where(right, in_left, 0)
            nodes = left + right
        return nodes - self.first_leaf
