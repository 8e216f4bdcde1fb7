"""Python objects that settings use and that no program can import: lambdas, local classes, cells of a notebook.

Settings are plain data, so they name such an object `asyncrl.given:NAME`. Attributes of this module are these objects.
They last as long as the process in which they were given; worker processes get copies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from asyncrl.errors import UserError

MODULE = __name__

_objects: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    """The object of that name."""
    if name in _objects:
        return _objects[name]
    raise AttributeError(f"module {MODULE!r} has no attribute {name!r}")


def keep(value: Any) -> str:
    """Keeps an object, and returns the path under which settings name it. The same object always has the same path."""
    called = str(getattr(value, "__qualname__", type(value).__qualname__)).rpartition(".")[2]
    base = re.sub(r"\W", "", called)
    name, number = base, 1
    while name in _objects and _objects[name] is not value:
        number += 1
        name = f"{base}_{number}"
    _objects[name] = value
    return f"{MODULE}:{name}"


def pack(paths: Iterable[str]) -> bytes:
    """The objects at these paths in a form that `unpack` makes copies of, in this or another process.

    Raises:
        UserError: An object holds something that cannot be copied to another process.
    """
    import cloudpickle

    names = [path.rpartition(":")[2] for path in paths]
    try:
        return bytes(cloudpickle.dumps({name: _objects[name] for name in names if name in _objects}))
    except Exception as error:  # whatever an object's own methods raise
        raise UserError(
            f"{', '.join(names)} cannot be sent to worker processes ({error}): define it at the top level of a module, "
            'or train with runtime="serial"'
        ) from error


def unpack(data: bytes) -> None:
    """Keeps copies of the objects that `pack` has packed."""
    import pickle

    _objects.update(pickle.loads(data))
