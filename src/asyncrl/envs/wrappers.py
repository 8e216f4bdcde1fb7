"""A user's own wrappers around single environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium

from asyncrl.errors import UserError
from asyncrl.importing import import_object


def wrapped(env: gymnasium.Env[Any, Any], paths: Sequence[str]) -> gymnasium.Env[Any, Any]:
    """Applies wrappers to an environment, the first one innermost.

    Args:
        env: The environment.
        paths: Import paths `module:function` of functions or classes that take an environment and return one.

    Raises:
        UserError: A wrapper cannot be imported, is not callable, fails, or does not return an environment.
    """
    for path in paths:
        wrapper = import_object(path, "wrapper")
        if not callable(wrapper):
            raise UserError(f"the wrapper {path!r} is {wrapper!r}: name a function or class that takes an environment")
        try:
            env = wrapper(env)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"the wrapper {path!r} failed with {type(error).__name__}: {error}") from error
        if not isinstance(env, gymnasium.Env):
            raise UserError(f"the wrapper {path!r} returned {env!r}: let it return the wrapped gymnasium.Env")
    return env
