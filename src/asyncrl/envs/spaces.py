"""Spaces as plain data, so that a checkpoint says what an agent observes and how it acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Text, Tuple
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from asyncrl.envs.observations import as_agents_see
from asyncrl.errors import UserError
from asyncrl.types import EnvironmentInfo


def info_to_dict(info: EnvironmentInfo) -> dict[str, Any]:
    """Converts the description of an environment to plain data, as JSON can hold it.

    Raises:
        UserError: A space is of a kind that cannot be saved.
    """
    values = {field.name: getattr(info, field.name) for field in fields(info)}
    return {name: space_to_dict(value) if isinstance(value, Space) else value for name, value in values.items()}


def info_from_dict(data: Mapping[str, Any]) -> EnvironmentInfo:
    """Restores what `info_to_dict` made; a field that is missing takes its default value.

    Raises:
        ValueError: The data describe no environment. (So do KeyError and TypeError.)
    """
    values: dict[str, Any] = dict(data)
    for name in ("observation_space", "action_space", "raw_observation_space"):
        if values.get(name) is not None:
            values[name] = space_from_dict(values[name])
    return EnvironmentInfo(**values)


def space_to_dict(space: Space[Any]) -> dict[str, Any]:
    """Converts a space to plain data, as JSON can hold it. All that is kept of a Text is that it is one.

    Raises:
        UserError: The space is of another kind.
    """
    if isinstance(space, Box) and space.dtype.itemsize <= np.dtype(np.float64).itemsize:
        bounds = {"low": _bound_to_data(space.low), "high": _bound_to_data(space.high)}
        return {"kind": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, MultiDiscrete):
        counts = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"kind": "MultiDiscrete", "dtype": str(space.dtype), **counts}
    if isinstance(space, MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, Text):
        return {"kind": "Text"}
    if isinstance(space, Dict):
        return {"kind": "Dict", "spaces": {key: space_to_dict(part) for key, part in space.spaces.items()}}
    if isinstance(space, Tuple):
        return {"kind": "Tuple", "spaces": [space_to_dict(part) for part in space.spaces]}
    raise UserError(f"the space {space} cannot be saved: use Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple")


def space_from_dict(data: Mapping[str, Any]) -> Space[Any]:
    """Restores what `space_to_dict` made.

    Raises:
        ValueError: The data describe no space. (So do KeyError and TypeError.)
    """
    match data["kind"]:
        case "Box":
            shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
            low, high = (_bound_from_data(data[name], shape, dtype) for name in ("low", "high"))
            return Box(low, high, dtype=dtype.type)
        case "Discrete":
            return Discrete(data["n"], start=data["start"])
        case "MultiDiscrete":
            return MultiDiscrete(data["nvec"], dtype=np.dtype(data["dtype"]).type, start=data["start"])
        case "MultiBinary":
            return MultiBinary(data["n"])
        case "Text":
            return Text(1)
        case "Dict":
            return Dict([(key, space_from_dict(part)) for key, part in data["spaces"].items()])
        case "Tuple":
            return Tuple([space_from_dict(part) for part in data["spaces"]])
    raise ValueError(f"there is no kind of space {data['kind']!r}")


def check_spaces(environments: VectorEnv[Any, Any, Any], info: EnvironmentInfo) -> None:
    """Checks that environments still are what an agent was trained on.

    Bounds of observations may differ: the agent does not depend on them.

    Raises:
        UserError: Shapes or types of observations, or the actions, have changed.
    """
    now, then = as_agents_see(environments.single_observation_space), info.observation_space
    if _shapes(now) != _shapes(then):
        raise UserError(f"{info.id} has changed since the agent was trained: it observes {now}, no longer {then}")
    actions = environments.single_action_space
    if space_to_dict(actions) != space_to_dict(info.action_space):
        raise UserError(
            f"{info.id} has changed since the agent was trained: its actions are {actions}, no longer "
            f"{info.action_space}"
        )


def _shapes(space: Space[Any]) -> dict[str, Any]:
    parts = space.spaces if isinstance(space, Dict) else {"": space}
    return {key: (part.shape, part.dtype) for key, part in parts.items()}


def _bound_to_data(bound: NDArray[Any]) -> Any:
    """One number if the bound is the same everywhere, else the flat list of all."""
    flat = [_number_to_data(number) for number in bound.reshape(-1).tolist()]
    return flat[0] if flat and all(number == flat[0] for number in flat) else flat


def _number_to_data(number: float) -> float | str:
    """The number itself, or its name if it is infinite: JSON has no infinite numbers."""
    return number if np.isfinite(number) else str(number)


def _bound_from_data(data: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    convert = float if dtype.kind == "f" else int
    if isinstance(data, list):
        return np.array([convert(number) for number in data], dtype).reshape(shape)
    return np.full(shape, convert(data), dtype)
