"""Observations are one array, or a flat dictionary of arrays: one function that treats both alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of each array in `tree` and the arrays in the same place of `others`."""
    if isinstance(tree, Mapping):
        return {key: tree_map(function, value, *(other[key] for other in others)) for key, value in tree.items()}
    return function(tree, *others)
