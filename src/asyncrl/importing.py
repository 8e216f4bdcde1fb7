"""Objects that settings name by an import path, `module:name`."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from operator import attrgetter
from types import ModuleType
from typing import Any

from asyncrl import given, main_script
from asyncrl.errors import UserError


def texts_in(values: Iterable[Any]) -> list[str]:
    """The texts among the values of settings, and those in lists among them."""
    parts = [part for value in values for part in (value if isinstance(value, list | tuple) else [value])]
    return [part for part in parts if isinstance(part, str)]


def modules_in(names: Iterable[str | None]) -> set[str]:
    """The modules that using these names would import: names of the form `module:name` are import paths."""
    return {name.rpartition(":")[0] for name in names if name and ":" in name} - {given.MODULE}


def given_in(names: Iterable[str | None]) -> list[str]:
    """Those of the names that are paths of objects which cannot be imported."""
    return [name for name in names if name and name.startswith(f"{given.MODULE}:")]


def import_module(name: str) -> ModuleType:
    """The module of that name. The running script is not imported a second time.

    Raises:
        ImportError: There is no such module, or it cannot be imported.
    """
    return sys.modules["__main__"] if name == main_script.module_name() else importlib.import_module(name)


def import_option(modules: Iterable[str]) -> str:
    """The option of a command that lets a run's settings import these modules; it takes all of them at once."""
    return f"--import {' '.join(sorted(modules))}"


def trust_advice(modules: Iterable[str], named: Iterable[str]) -> str:
    """What to do about settings that import modules which the user did not name.

    Args:
        modules: All modules that the settings import.
        named: The modules that the user named.
    """
    advice = f"if you trust that code, add {import_option(modules)} (in Python: modules={sorted(modules)})"
    for name in named:
        if name.endswith(".py"):
            return f"{advice}; modules are named without .py, not {name!r}"
        find_modules_here()
        if "." not in name and name not in sys.modules and importlib.util.find_spec(name) is None:
            return f"{advice}; there is no module {name!r}"
    return advice


def import_object(path: str, what: str) -> Any:
    """The object at `module:name`. Modules of the current folder are found too.

    Args:
        path: The import path.
        what: What the object is, for the message.

    Raises:
        UserError: There is no such module, or the module has no such name.
    """
    module_name, _, name = path.rpartition(":")
    if not (module_name and name):
        raise UserError(f"the {what} {path!r} is no import path: write module:name")
    find_modules_here()
    try:
        return attrgetter(name)(import_module(module_name))
    except ImportError as error:
        raise UserError(f"cannot import the {what} {path!r}: {error}") from error
    except AttributeError:
        if module_name == given.MODULE:
            raise UserError(
                f"the {what} {name!r} was defined in the program that trained, and cannot be imported: "
                "define it at the top level of a module and train with that"
            ) from None
        raise UserError(f"cannot import the {what} {path!r}: {module_name} has no {name!r}") from None


def path_of(value: Any) -> str:
    """The path at which `import_object` finds a class or function again.

    An object that cannot be imported is kept in `asyncrl.given`, where only this process and its workers find it.
    """
    module_name, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module_name == "__main__":
        module_name = main_script.module_name()
    if module_name is not None and name is not None:
        try:
            if attrgetter(name)(import_module(module_name)) is value:
                return f"{module_name}:{name}"
        except (ImportError, AttributeError):
            pass  # a lambda, or a class or function that was made in a function
    return given.keep(value)


def find_modules_here() -> None:
    """Lets Python find modules of the current folder, as `python -m` does and the installed command does not.

    Call this only for modules that the user named.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
