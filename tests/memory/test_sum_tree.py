"""The tree of sums, and both ways to select items, against the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asyncrl.memory.selection import OFFSET, Prioritized, Uniform
from asyncrl.memory.sum_tree import SumTree


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_leaves_are_found_where_the_running_sum_passes(weights: list[float], seed: int) -> None:
    tree, exact = SumTree(len(weights)), np.array(weights)
    random = np.random.default_rng(seed)
    for part in np.array_split(random.permutation(len(weights)), 3):  # written in any order
        tree[part] = exact[part]
    assert tree.total == pytest.approx(exact.sum())
    if exact.sum() == 0:
        return
    sums = random.random(20) * tree.total
    found = tree.find(sums)
    assert (exact[found] > 0).all()  # a leaf without weight is never drawn
    running = np.cumsum(exact)
    for leaf, passed in zip(found, sums, strict=True):
        assert running[leaf] - exact[leaf] - 1e-9 <= passed <= running[leaf] + 1e-9


def test_a_million_leaves_keep_their_sums() -> None:
    tree, changed = SumTree(1_000_000), set()
    tree[np.arange(1_000_000)] = 1.0
    random = np.random.default_rng(0)
    for _ in range(50):
        found = tree.find(random.random(32) * tree.total)
        tree[found] = 2.0
        changed.update(found.tolist())
    assert tree.levels == 20  # so many steps for each batch, whatever its size
    assert tree.total == 1_000_000 + len(changed)


def drawn(selection: Uniform | Prioritized, room: int, fraction: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """How often each place is drawn, and its weight relative to the largest."""
    random, counts, weights = torch.Generator().manual_seed(0), np.zeros(room), np.zeros(room)
    for _ in range(400):
        places, each = selection.draw(100, random, fraction)
        np.add.at(counts, places, 1)
        weights[places] = each
    return counts / counts.sum(), weights


@pytest.mark.parametrize("by_rank", [False, True])
def test_items_are_drawn_by_their_priorities(by_rank: bool) -> None:
    room, alpha, beta = 12, 0.7, 0.5
    selection = Prioritized(room, by_rank, alpha, beta)
    present = np.array([0, 1, 2, 3, 5, 6, 7, 9, 10])
    errors = np.array([0.1, 4.0, 0.5, 2.0, 1.0, 0.0, 3.0, 0.25, 8.0], np.float32)
    selection.insert(np.arange(room))
    selection.remove(np.array([4, 8, 11]))
    for _ in range(2):  # with the second time the ranks are those of all items
        selection.update(present, errors)
    ranks = 1 + np.argsort(np.argsort(-errors))
    priorities = 1 / ranks if by_rank else errors.astype(float) + OFFSET
    expected = np.zeros(room)
    expected[present] = priorities**alpha / (priorities**alpha).sum()
    shares, _ = drawn(selection, room)
    np.testing.assert_allclose(shares, expected, atol=0.006)

    places, weights = selection.draw(64, torch.Generator().manual_seed(1), 0.5)
    exact = (len(present) * expected[places]) ** -(beta + (1 - beta) * 0.5)
    np.testing.assert_allclose(weights, exact / exact.max(), rtol=1e-5)


def test_new_items_have_the_largest_priority_so_far() -> None:
    selection = Prioritized(4, False, 1.0, 1.0)
    selection.insert(np.array([0, 1]))
    selection.update(np.array([0, 1]), np.array([5.0, 1.0], np.float32))
    selection.insert(np.array([2]))
    shares, _ = drawn(selection, 4)
    np.testing.assert_allclose(shares, [5 / 11, 1 / 11, 5 / 11, 0], atol=0.01)


def test_uniform_draws_what_is_there() -> None:
    selection = Uniform(10)
    selection.insert(np.array([0, 1, 2, 3, 5]))
    selection.remove(np.array([1, 4]))  # place 4 holds no item
    assert selection.items == 4
    shares, weights = drawn(selection, 10)
    np.testing.assert_allclose(shares, [0.25, 0, 0.25, 0.25, 0, 0.25, 0, 0, 0, 0], atol=0.01)
    assert set(weights[[0, 2, 3, 5]]) == {1.0}


@pytest.mark.parametrize("make", [lambda: Uniform(8), lambda: Prioritized(8, True, 0.6, 0.4)])
def test_a_restored_selection_draws_the_same(make: object) -> None:
    selection, other = make(), make()  # type: ignore[operator]
    selection.insert(np.arange(6))
    selection.update(np.arange(6), np.arange(6, dtype=np.float32))
    selection.remove(np.array([2]))
    other.restore({name: array.copy() for name, array in selection.arrays().items()})
    for _ in range(3):
        one, same = (each.draw(32, torch.Generator().manual_seed(3), 0.2) for each in (selection, other))
        np.testing.assert_array_equal(one[0], same[0])
        np.testing.assert_array_equal(one[1], same[1])
        for each in (selection, other):
            each.update(one[0], one[1] * 3)
