"""Locality-sensitive hashing: observations that resemble each other get equal hashes."""

from __future__ import annotations

from torch import Tensor


def simhash(features: Tensor, hyperplanes: Tensor) -> Tensor:
    """SimHash (Charikar 2002; Tang et al. 2017, equation 2): on which side of each hyperplane a vector lies.

    Args:
        features: Vectors g(s) [N, D].
        hyperplanes: The rows of A, whose entries are drawn from N(0, 1) [k, D].

    Returns:
        Bits [N, k]: whether A g(s) is positive.
    """
    return features @ hyperplanes.T > 0


def cells_of(bits: Tensor, keys: Tensor, size: int) -> Tensor:
    """A cell of a table for each row of bits; different rows share a cell with the probability of one in its cells.

    Args:
        bits: Hashes [N, k], bool.
        keys: Random numbers [k], int64, drawn from all 64 bits.
        size: log₂ of the number of cells.

    Returns:
        Cells [N], int64, from 0 to 2^size - 1.
    """
    mixed = (bits * keys).sum(-1)  # modulo 2^64
    return mixed.bitwise_right_shift(64 - size).bitwise_and(2**size - 1)
