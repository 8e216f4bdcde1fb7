"""Gymnasium ids: what they name, the packages that register them, and hints for ids that do not exist."""

from __future__ import annotations

import difflib
import warnings
from operator import attrgetter
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

import asyncrl.envs  # noqa: F401  (registers the built-in environments)
from asyncrl import given
from asyncrl.errors import UserError
from asyncrl.importing import find_modules_here, import_module, import_object
from asyncrl.installing import install_command

ADDED_BY = {
    "minatar": ("minatar.gym", "asyncrl[minatar]"),
    "minigrid": ("minigrid", "asyncrl[minigrid]"),
    "babyai": ("minigrid", "asyncrl[minigrid]"),
    "vizdoom": ("vizdoom.gymnasium_wrapper", "asyncrl[vizdoom]"),
}
"""Modules that register environments when imported, by lower-case prefix of the ids, and what to install for them."""


def find_spec(environment: str) -> EnvSpec:
    """Returns the registered spec of an id. `module:Id` imports the module first. The default version is the newest.

    `module:name` can also be the import path of a class or function that makes an environment.

    Raises:
        UserError: There is no such id (the message suggests similar ids), or its package is missing.
    """
    module, _, name = environment.rpartition(":")
    if module:
        find_modules_here()
        _import(module, f"cannot import {module!r}, which {environment!r} names")
        if module == given.MODULE or (name not in gymnasium.registry and _is_factory(module, name)):
            return EnvSpec(name, entry_point=import_object(environment, "environment"))
    for prefix, (package, needed) in ADDED_BY.items():
        if name.lower().startswith(prefix):
            added = _import(package, f"the package of {name!r} is not installed: {install_command(needed)}")
            if package == "minatar.gym" and "MinAtar/Breakout-v1" not in gymnasium.registry:
                added.register_envs()
    if name not in gymnasium.registry:
        import ale_py

        gymnasium.register_envs(ale_py)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gymnasium.spec(name)
    except gymnasium.error.Error:
        newest = _newest_version(name)
        if newest is not None:
            return newest
        if module:
            near = difflib.get_close_matches(name, [*dir(import_module(module)), *gymnasium.registry], 1)
            hint = f": did you mean {module}:{near[0]}?" if near else ""
            raise UserError(f"the module {module!r} has no environment {name!r}{hint}") from None
        raise UserError(f"unknown environment {name!r}{_nearest(name)}") from None


def _is_factory(module: str, name: str) -> bool:
    """Whether a name in a module is a class or function, rather than a registered id without its version."""
    try:
        return callable(attrgetter(name)(import_module(module)))
    except AttributeError:
        return False


def _import(module: str, message: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{message} ({error})") from error


def _newest_version(name: str) -> EnvSpec | None:
    namespace, _, short = name.rpartition("/")
    versions = [
        spec
        for spec in gymnasium.registry.values()
        if spec.name == short and (spec.namespace or "") == namespace and spec.version is not None
    ]
    return max(versions, key=lambda spec: spec.version or 0, default=None)


def _nearest(name: str) -> str:
    ids = {known.lower(): known for known in sorted(gymnasium.registry, key=lambda known: -known.count("/"))}
    short = {known.rsplit("/", 1)[-1]: known for known in ids}  # plain ids win over those with a namespace
    matches = difflib.get_close_matches(name.lower(), [*ids, *short], n=5, cutoff=0.6)
    found = list(dict.fromkeys(ids[short.get(match, match)] for match in matches))[:3]
    return f": did you mean {', '.join(found)}?" if found else ": see the ids of gymnasium.pprint_registry()"
