"""Objects that settings name by an import path, `module:name`."""

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from asyncrl.errors import UserError


def modules_in(names: Iterable[str | None]) -> set[str]:
    """The modules that using these names would import: names of the form `module:name` are import paths."""
    return {name.rpartition(":")[0] for name in names if name and ":" in name}


def import_object(path: str, what: str) -> Any:
    """The object at `module:name`. Modules of the current folder are found too.

    Args:
        path: The import path.
        what: What the object is, for the message.

    Raises:
        UserError: There is no such module, or the module has no such name.
    """
    module_name, _, name = path.rpartition(":")
    find_modules_here()
    try:
        return getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise UserError(f"cannot import the {what} {path!r}: {error}") from error
    except AttributeError:
        raise UserError(f"cannot import the {what} {path!r}: {module_name} has no {name!r}") from None


def find_modules_here() -> None:
    """Lets Python find modules of the current folder, as `python -m` does and the installed command does not.

    Call this only for modules that the user named.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
