"""Objects named on the command line by import path, `module:name`."""

import importlib
import os
import sys
from typing import Any

from asyncrl.errors import UserError


def import_object(path: str, what: str) -> Any:
    """The object at `module:name`; modules of the current folder are found too.

    Raises:
        UserError: There is no such module or no such name in it.
    """
    module_name, _, name = path.partition(":")
    find_modules_here()
    try:
        return getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise UserError(f"cannot import the {what} {path!r}: {error}") from error
    except AttributeError:
        raise UserError(f"cannot import the {what} {path!r}: {module_name} has no {name!r}") from None


def find_modules_here() -> None:
    """Lets modules of the current folder be imported, also by the installed command: only for what the user named."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
