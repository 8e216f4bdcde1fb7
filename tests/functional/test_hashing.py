"""Hashes of observations against slow loops, and the cells that they share."""

from __future__ import annotations

import torch

from asyncrl.functional.hashing import cells_of, simhash


def test_a_bit_says_on_which_side_of_its_hyperplane_a_vector_lies() -> None:
    random = torch.Generator().manual_seed(0)
    features, hyperplanes = torch.randn(7, 5, generator=random), torch.randn(9, 5, generator=random)
    bits = simhash(features, hyperplanes)
    for vector, row in zip(features.tolist(), bits.tolist(), strict=True):
        for plane, bit in zip(hyperplanes.tolist(), row, strict=True):
            assert bit == (sum(x * y for x, y in zip(vector, plane, strict=True)) > 0)


def test_bits_differ_in_proportion_to_the_angle() -> None:
    hyperplanes = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    one, other = simhash(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), hyperplanes)  # 45 degrees
    assert abs(float((one != other).float().mean()) - 45 / 180) < 0.01


def test_equal_hashes_share_a_cell_and_others_hardly_ever() -> None:
    random = torch.Generator().manual_seed(0)
    keys = torch.randint(-(2**63), 2**63 - 1, (64,), generator=random)
    codes = torch.arange(2**14)  # all hashes of 14 bits, the others are zero
    bits = torch.zeros(len(codes), 64, dtype=torch.bool)
    bits[:, :14] = codes.unsqueeze(-1).bitwise_right_shift(torch.arange(14)).bitwise_and(1).bool()
    cells = cells_of(bits, keys, 20)
    assert torch.equal(cells, cells_of(bits.clone(), keys, 20))
    assert int(cells.min()) >= 0
    assert int(cells.max()) < 2**20
    expected = 2**14 * (1 - 2**14 / 2**21)  # as if each hash drew its cell
    assert len(cells.unique()) > expected - 100
