"""Trees of arrays: observations are one array or a flat dictionary of arrays, checkpoints name all their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Applies a function to each array of a tree, together with the arrays in the same place of other trees."""
    if isinstance(tree, Mapping):
        return {key: tree_map(function, value, *(other[key] for other in others)) for key, value in tree.items()}
    return function(tree, *others)


def pack(prefix: str, tree: Any) -> dict[str, Any]:
    """Names the arrays of a flat tree: `prefix/KEY` in a dictionary, `prefix` for a single array."""
    if isinstance(tree, Mapping):
        return {f"{prefix}/{key}": value for key, value in tree.items()}
    return {prefix: tree}


def unpack(prefix: str, named: Mapping[str, T]) -> dict[str, T]:
    """Selects the entries named `prefix/KEY`, by their keys."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in named.items() if name.startswith(start)}
