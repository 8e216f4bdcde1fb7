"""Spaces as plain data: what is restored is what was saved, and other kinds are refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, OneOf, Sequence, Space, Text, Tuple
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from asyncrl.envs.spaces import info_from_dict, info_to_dict, space_from_dict, space_to_dict
from asyncrl.errors import UserError
from asyncrl.types import EnvironmentInfo

DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint8", "uint16", "bool"]


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Boxes with bounds that are the same everywhere, that differ, or that are infinite."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    numbers = arrays.from_dtype(dtype, allow_nan=False)
    if draw(st.booleans()):
        one, other = draw(numbers), draw(numbers)
        bounds = [np.full(shape, number, dtype) for number in (one, other)]
    else:
        bounds = [draw(arrays.arrays(dtype, shape, elements=numbers)) for _ in range(2)]
    low, high = (np.asarray(choose(*bounds)) for choose in (np.minimum, np.maximum))
    return Box(low, high, dtype=dtype.type)


COUNTS = st.lists(st.tuples(st.integers(1, 1000), st.integers(-50, 50)), min_size=1, max_size=4)
PLAIN: st.SearchStrategy[Space[Any]] = (
    boxes()
    | st.builds(Discrete, st.integers(1, 10**9), start=st.integers(-(10**9), 10**9))
    | COUNTS.map(lambda counts: MultiDiscrete([n for n, _ in counts], start=[start for _, start in counts]))
    | st.lists(st.integers(1, 5), min_size=1, max_size=3).map(MultiBinary)
    | st.builds(MultiBinary, st.integers(1, 9))
)
SPACES = st.recursive(
    PLAIN,
    lambda parts: (
        st.dictionaries(st.text(), parts, min_size=1, max_size=3).map(Dict)
        | st.lists(parts, min_size=1, max_size=3).map(Tuple)
    ),
    max_leaves=6,
)


def assert_same(one: Space[Any], other: Space[Any]) -> None:
    """Compares exactly; Gymnasium's own comparison lets bounds differ a little."""
    assert one == other
    if isinstance(one, Dict) and isinstance(other, Dict):
        assert list(one.spaces) == list(other.spaces)  # networks take the keys in this order
        for key, part in one.spaces.items():
            assert_same(part, other.spaces[key])
        return
    if isinstance(one, Tuple) and isinstance(other, Tuple):
        for part, same in zip(one.spaces, other.spaces, strict=True):
            assert_same(part, same)
        return
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    if isinstance(one, Box) and isinstance(other, Box):
        assert np.array_equal(one.low, other.low)
        assert np.array_equal(one.high, other.high)


@given(space=SPACES)
def test_a_space_is_restored_exactly(space: Space[Any]) -> None:
    text = json.dumps(space_to_dict(space), allow_nan=False)  # a standard reader of JSON can read it
    assert_same(space_from_dict(json.loads(text)), space)


def test_bounds_of_an_image_are_one_number_each() -> None:
    assert len(json.dumps(space_to_dict(Box(0, 255, (4, 84, 84), np.uint8)))) < 100


@pytest.mark.parametrize(
    "space",
    [Sequence(Discrete(2)), Tuple([OneOf([Discrete(2)])]), Box(0, 1, (2,), np.longdouble)],
    ids=str,
)
def test_other_spaces_are_refused(space: Space[Any]) -> None:
    with pytest.raises(UserError, match="cannot be saved: use Box, Discrete"):
        space_to_dict(space)


@pytest.mark.parametrize("change", [{"kind": "Graph"}, {"low": [0.0]}, {"dtype": "object"}, {"low": "wide"}])
def test_what_is_no_space_is_refused(change: dict[str, Any]) -> None:
    data = space_to_dict(Box(np.zeros(2, np.float32), np.array([1, 2], np.float32)))
    with pytest.raises((ValueError, TypeError)):
        space_from_dict({**data, **change})


def test_the_description_of_an_environment_is_restored() -> None:
    info = EnvironmentInfo("x/Y-v1", Dict(b=Box(0, 1), a=Box(-np.inf, np.inf, (2, 3))), Discrete(3, start=5), 4)
    assert info_from_dict(json.loads(json.dumps(info_to_dict(info)))) == info
    given = dataclasses.replace(info, raw_observation_space=Dict([("b", Discrete(3)), ("a", Tuple([MultiBinary(2)]))]))
    assert info_from_dict(json.loads(json.dumps(info_to_dict(given)))) == given
    assert (info.given_space, given.given_space) == (info.observation_space, given.raw_observation_space)


def test_of_a_text_it_is_kept_that_it_is_one() -> None:
    assert isinstance(space_from_dict(json.loads(json.dumps(space_to_dict(Text(30))))), Text)
