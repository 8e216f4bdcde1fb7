"""Converts observations of any kind to one array or a flat dictionary of arrays, which agents take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Text, Tuple, flatten_space
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from asyncrl.errors import UserError


@dataclass(frozen=True)
class ObservationCodec:
    """Converts an environment's observations to those that agents take.

    Boxes stay as they are. Discrete and MultiDiscrete spaces become one-hot vectors, MultiBinary spaces vectors of 0
    and 1. The parts of nested Dict and Tuple spaces become entries of one flat dictionary, each named by its path, such
    as `arm/camera` or `0`. Text is left out.
    """

    space: Space[Any]  # of one observation of the environment; a text of any kind is a Text here
    agent_space: Space[Any]  # of one observation as agents take it: a Box, or a Dict of Boxes; no float64

    @property
    def left_out(self) -> tuple[str, ...]:
        """Paths of the texts, which agents do not observe."""
        return tuple(path for path, part in leaves(self.space) if isinstance(part, Text))

    @property
    def converts_nothing(self) -> bool:
        """Whether the environment's observations are what agents take: a Box, or a Dict of Boxes."""
        parts = self.space.spaces.values() if isinstance(self.space, Dict) else [self.space]
        return all(isinstance(part, Box) for part in parts)

    def to_agent(self, observations: Any) -> Any:
        """Converts a batch of the environment's observations, as vectors of environments give them.

        Args:
            observations: [B, ...]; for a Dict space a dictionary of these, for a Tuple space a tuple of them.

        Returns:
            The agent's observations [B, ...], or a flat dictionary of these.

        Raises:
            ValueError: A number lies outside its Discrete or MultiDiscrete space.
        """
        return _tree({path: _array(part, value) for path, part, value in self._arrays(observations)})

    def to_agent_batch(self, observation: Any) -> tuple[Any, bool]:
        """Converts a single observation or a batch, and says whether it was a single one.

        Args:
            observation: One observation of `space`, or a batch as `to_agent` takes it.

        Returns:
            The agent's observations [B, ...], where B is 1 for a single observation, or a flat dictionary of these; and
            whether there was a single observation.

        Raises:
            ValueError: The observation has missing keys, another shape, or numbers outside of its space.
        """
        rows, singles = {}, set()
        for path, part, value in self._arrays(observation):
            array = np.asarray(value, as_agents_see(part).dtype if isinstance(part, Box) else None)
            shape = part.shape or ()
            if array.shape != shape and array.shape[1:] != shape:
                name = f"observation {path!r}" if path else "observation"
                raise ValueError(f"an {name} has the shape {shape}, a batch {('B', *shape)}; this has {array.shape}")
            singles.add(array.shape == shape)
            rows[path] = _array(part, array[None] if array.shape == shape else array)
        if len(singles) > 1:
            raise ValueError("some parts of the observation are single ones, others are batches")
        return _tree(rows), singles == {True}

    def _arrays(self, observations: Any) -> Iterator[tuple[str, Space[Any], Any]]:
        for path, part, value in leaf_values(self.space, observations):
            if not isinstance(part, Text):
                yield path, part, value


def observation_codec(space: Space[Any]) -> ObservationCodec:
    """Returns the codec of an observation space.

    Raises:
        UserError: The space cannot be converted to arrays of fixed size, or it has nothing but text.
    """
    space = map_space(space, _with_plain_text)
    boxes: dict[str, Space[Any]] = {
        path: part if isinstance(part, Box) else flatten_space(part)
        for path, part in leaves(space)
        if not isinstance(part, Text)
    }
    if not boxes:
        raise UserError(f"observations of kind {space} hold no numbers: wrap the environment so that they do")
    return ObservationCodec(space, as_agents_see(boxes[""] if list(boxes) == [""] else Dict(boxes)))


def leaves(space: Space[Any], path: str = "") -> Iterator[tuple[str, Space[Any]]]:
    """Yields the spaces inside nested Dict and Tuple spaces, each with its path, such as `arm/camera`."""
    if isinstance(space, Dict | Tuple):
        for key, part in _parts(space):
            yield from leaves(part, _join(path, key))
    else:
        yield path, space


def leaf_values(space: Space[Any], value: Any, path: str = "") -> Iterator[tuple[str, Space[Any], Any]]:
    """Yields the paths and spaces of `leaves`, each with its part of an observation.

    Raises:
        ValueError: The observation does not have the parts of the space.
    """
    if not isinstance(space, Dict | Tuple):
        yield path, space, value
        return
    _check_parts(space, value, path)
    for key, part in _parts(space):
        yield from leaf_values(part, value[key], _join(path, key))


def _parts(space: Dict | Tuple[Any]) -> Iterator[tuple[Any, Space[Any]]]:
    yield from space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)


def _join(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


def _check_parts(space: Dict | Tuple[Any], value: Any, path: str) -> None:
    name = f"the observation {path!r}" if path else "an observation"
    if isinstance(space, Dict):
        if not isinstance(value, Mapping) or set(space.spaces) - set(value):
            raise ValueError(f"{name} must be a dictionary with the keys {', '.join(space.spaces)}")
    elif not isinstance(value, tuple | list) or len(value) != len(space.spaces):
        raise ValueError(f"{name} must be a tuple of {len(space.spaces)}")


def map_space(space: Space[Any], function: Callable[[str, Space[Any]], Space[Any]], path: str = "") -> Space[Any]:
    """Replaces each space inside nested Dict and Tuple spaces by what the function makes of its path and itself."""
    if isinstance(space, Dict):
        return Dict([(key, map_space(part, function, _join(path, key))) for key, part in _parts(space)])
    if isinstance(space, Tuple):
        return Tuple([map_space(part, function, _join(path, key)) for key, part in _parts(space)])
    return function(path, space)


def map_parts(space: Space[Any], value: Any, function: Callable[[str, Any], Any], path: str = "") -> Any:
    """Replaces each part of an observation, or of a batch, by what the function makes of its path and itself."""
    if isinstance(space, Dict):
        return {key: map_parts(part, value[key], function, _join(path, key)) for key, part in _parts(space)}
    if isinstance(space, Tuple):
        return tuple(map_parts(part, value[key], function, _join(path, key)) for key, part in _parts(space))
    return function(path, value)


def _with_plain_text(path: str, space: Space[Any]) -> Space[Any]:
    """The space itself, or a Text for any kind of text, such as MiniGrid's missions.

    Raises:
        UserError: It is of a kind that cannot be converted to an array of fixed size.
    """
    if isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        return space
    if space.dtype is not None and space.dtype.kind == "U":
        return Text(1)
    name = f"the observation {path!r}" if path else "observations"
    raise UserError(f"{name} of kind {space} cannot be converted to arrays of fixed size: wrap the environment")


def _array(space: Space[Any], values: Any) -> Any:
    """Converts a batch of one part [B, ...]: one-hot vectors [B, N], vectors of 0 and 1, or a Box's own arrays."""
    if isinstance(space, Discrete):
        return _one_hot(space, np.asarray(values).reshape(-1, 1), np.array([space.n]), np.array([space.start]))
    if isinstance(space, MultiDiscrete):
        rows = np.asarray(values).reshape(len(values), -1)
        return _one_hot(space, rows, space.nvec.reshape(-1), space.start.reshape(-1))
    if isinstance(space, MultiBinary):
        return np.asarray(values, space.dtype).reshape(len(values), -1)
    return values


def _one_hot(
    space: Discrete | MultiDiscrete, numbers: NDArray[Any], counts: NDArray[Any], starts: NDArray[Any]
) -> NDArray[Any]:
    """One-hot vectors [B, sum of the counts] of numbers [B, K] that count from `starts` [K]."""
    chosen = numbers - starts
    if not np.issubdtype(chosen.dtype, np.integer) or (chosen < 0).any() or (chosen >= counts).any():
        raise ValueError(f"an observation has {numbers.tolist()}, which is not in {space}")
    hot = np.zeros((len(numbers), counts.sum()), space.dtype)
    np.put_along_axis(hot, np.cumsum(counts) - counts + chosen, 1, -1)
    return hot


def _tree(arrays: dict[str, Any]) -> Any:
    return arrays[""] if list(arrays) == [""] else arrays


class ArrayObservations(VectorWrapper[Any, Any, Any]):
    """Converts the observations of a vector of environments by an `ObservationCodec`."""

    def __init__(self, env: VectorEnv[Any, Any, Any], codec: ObservationCodec) -> None:
        super().__init__(env)
        self.codec = codec
        self.single_observation_space = codec.agent_space
        self.observation_space = batch_space(codec.agent_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts all episodes anew."""
        observations, info = self.env.reset(seed=seed, options=options)
        return self.codec.to_agent(observations), info

    def step(self, actions: Any) -> Any:
        """Steps all environments."""
        observations, *results = self.env.step(actions)
        return self.codec.to_agent(observations), *results


def as_agents_see(space: Space[Any]) -> Space[Any]:
    """Returns the same Box or Dict of Boxes with float32 in place of float64."""
    if isinstance(space, Dict):
        return Dict({key: as_agents_see(part) for key, part in space.spaces.items()})
    if isinstance(space, Box) and space.dtype == np.float64:
        low, high = np.finfo(np.float32).min, np.finfo(np.float32).max
        lower = np.where(np.isfinite(space.low), space.low.clip(low, high), space.low)
        upper = np.where(np.isfinite(space.high), space.high.clip(low, high), space.high)
        return Box(lower.astype(np.float32), upper.astype(np.float32), dtype=np.float32)
    return space
