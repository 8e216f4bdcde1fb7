"""Observations of every kind as agents take them, with Gymnasium's own flattening as the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Space,
    Text,
    Tuple,
    flatten,
)
from gymnasium.vector.utils import batch_space, iterate
from hypothesis import given
from hypothesis import strategies as st

from asyncrl.envs.observations import leaf_values, observation_codec
from asyncrl.errors import UserError

PLAIN: st.SearchStrategy[Space[Any]] = st.sampled_from(
    [
        Discrete(5),
        Discrete(3, start=-7),
        MultiDiscrete([2, 3], start=[1, 10]),
        MultiDiscrete([[2, 3], [4, 5]]),
        MultiBinary(3),
        MultiBinary([2, 2]),
        Box(-1, 1, (2, 3), np.float32),
        Box(0, 255, (4, 4, 3), np.uint8),
        Box(-1, 1, (), np.float64),
    ]
)
SPACES = st.recursive(
    PLAIN,
    lambda parts: (
        st.dictionaries(st.sampled_from(["arm", "eye", "x"]), parts, min_size=1).map(Dict)
        | st.lists(parts, min_size=1, max_size=3).map(Tuple)
    ),
    max_leaves=5,
)


def expected(space: Space[Any], observation: Any) -> dict[str, Any]:
    """One observation by the paths of its parts: Boxes as they are, everything else as Gymnasium flattens it."""
    parts = leaf_values(space, observation)
    return {path: value if isinstance(part, Box) else flatten(part, value) for path, part, value in parts}


@given(space=SPACES, seed=st.integers(0, 1000), count=st.integers(1, 3))
def test_batches_and_single_observations_are_converted_alike(space: Space[Any], seed: int, count: int) -> None:
    codec = observation_codec(space)
    vector = batch_space(space, count)
    vector.seed(seed)
    batch = vector.sample()
    converted, (rows, single) = codec.to_agent(batch), codec.to_agent_batch(batch)
    assert not single
    for number, observation in enumerate(iterate(vector, batch)):
        wanted = expected(space, observation)
        one, single = codec.to_agent_batch(observation)
        assert single
        boxes = codec.agent_space.spaces if isinstance(codec.agent_space, Dict) else {"": codec.agent_space}
        assert set(boxes) == set(wanted)
        for path, box in boxes.items():
            for tree, row in ((converted, number), (rows, number), (one, 0)):
                array = (tree[path] if isinstance(tree, dict) else tree)[row]
                np.testing.assert_allclose(array, wanted[path], rtol=1e-6)
                assert array.shape == box.shape


def test_parts_of_nested_spaces_are_named_by_their_paths() -> None:
    arm = Dict({"joint": Box(-1, 1, (2, 2)), "grip": Discrete(2)})
    codec = observation_codec(Dict({"arm": arm, "pair": Tuple((Discrete(3), Box(0, 1)))}))
    assert isinstance(codec.agent_space, Dict)
    assert set(codec.agent_space.spaces) == {"arm/joint", "arm/grip", "pair/0", "pair/1"}
    rows, single = codec.to_agent_batch({"arm": {"joint": np.eye(2), "grip": 1}, "pair": (2, [0.5])})
    assert single
    assert {path: row.tolist() for path, row in rows.items()} == {
        "arm/joint": [[[1, 0], [0, 1]]],
        "arm/grip": [[0, 1]],
        "pair/0": [[0, 0, 1]],
        "pair/1": [[0.5]],
    }


def test_text_is_left_out() -> None:
    codec = observation_codec(Tuple((Discrete(3), Dict(said=Text(20), seen=MultiBinary(2)))))
    assert codec.left_out == ("1/said",)
    rows, _ = codec.to_agent_batch((0, {"said": "go to the door", "seen": [0, 1]}))
    assert {path: row.tolist() for path, row in rows.items()} == {"0": [[1, 0, 0]], "1/seen": [[0, 1]]}
    with pytest.raises(UserError, match="hold no numbers: wrap the environment"):
        observation_codec(Text(20))


@pytest.mark.parametrize("space", [Sequence(Discrete(2)), OneOf([Discrete(2), Box(0, 1)])], ids=str)
def test_spaces_without_a_fixed_size_are_refused(space: Space[Any]) -> None:
    with pytest.raises(UserError, match=r"the observation 'inner/0' of kind .* cannot be converted .*: wrap"):
        observation_codec(Dict(inner=Tuple([space])))


@pytest.mark.parametrize(
    ("space", "observation", "message"),
    [
        (Discrete(4), 4, "has .*4.*, which is not in Discrete"),
        (Discrete(4, start=1), [1, 0], "which is not in Discrete"),
        (Discrete(4), 0.5, "which is not in Discrete"),
        (MultiDiscrete([2, 2]), [0, 2], "which is not in MultiDiscrete"),
        (Box(0, 1, (2,)), [0.0, 0.5, 1.0], "has the shape .2,., a batch .'B', 2.; this has .3,."),
        (Dict(a=Discrete(2), b=Discrete(2)), {"a": 1}, "must be a dictionary with the keys a, b"),
        (Tuple([Discrete(2), Discrete(2)]), (1,), "must be a tuple of 2"),
        (Dict(a=Discrete(2), b=Discrete(2)), {"a": 1, "b": [0, 1]}, "some parts .* are single"),
    ],
)
def test_what_is_not_in_the_space_is_refused(space: Space[Any], observation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        observation_codec(space).to_agent_batch(observation)
