"""Parses the arguments of all commands into typed dataclasses and dictionaries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict, TypeVar, cast, get_type_hints, is_typeddict

import tyro
import yaml
from docstring_parser import parse_from_object
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from asyncrl.errors import UserError

Arguments = TypeVar("Arguments")

SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def parse_steps(text: str) -> int:
    """A whole number, such as a number of steps: 500000, 500k, 2M or 1e6.

    Raises:
        ValueError: The text is not a whole number.
    """
    number, factor = text.strip().replace("_", ""), 1
    if number and number[-1].lower() in SUFFIXES:
        number, factor = number[:-1], SUFFIXES[number[-1].lower()]
    try:
        steps = float(number) * factor
        if steps != int(steps):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a whole number: write 500000, 500k, 2M or 1e6") from None
    return int(steps)


REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _counts(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    """Every whole number on the command line may be written as 200k or 2M."""
    if kind.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: parse_steps(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def parse(
    kind: type[Arguments], command: str, arguments: Sequence[str], default: Any = None, text: str = ""
) -> Arguments:
    """Parses the arguments of a command; prints help or a usage error and exits where that is due.

    Args:
        kind: Class of the result: a dataclass, or the typed dictionary of `option_group`.
        command: Name of the command.
        arguments: Words that follow the command.
        default: Values that the help shows for options that are not given, if not those of `kind`.
        text: Description of the command, if not the docstring of `kind`.
    """
    parsed: Arguments = tyro.cli(
        kind,
        prog=f"asyncrl {command}",
        description=text or None,
        args=list(arguments),
        registry=REGISTRY,
        config=(tyro.conf.OmitArgPrefixes, *(() if is_typeddict(kind) else (tyro.conf.FlagCreatePairsOff,))),
        **({} if default is None else {"default": default}),
    )
    return parsed


def option_group(name: str, text: str | None, options: Mapping[str, Any]) -> type[dict[str, Any]]:
    """A typed dictionary of options, each optional: parsing gives only those that are on the command line.

    A switch can be turned on by --name and off by --no-name.

    Args:
        name: Name of the type.
        text: What the help says above the options.
        options: Types of the options by their names, as `setting_types` makes them.
    """
    group: Any = TypedDict(name, dict(options), total=False)  # type: ignore[misc]
    group.__doc__ = text
    return cast(type[dict[str, Any]], group)


def setting_types(cls: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields by name, each with the field's docstring as its help text."""
    types = get_type_hints(cls)
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            texts |= {field.arg_name: field.description or "" for field in parse_from_object(base).params}
    return {field.name: described(types[field.name], texts.get(field.name, "")) for field in dataclasses.fields(cls)}


def described(kind: Any, text: str, default: str | None = None) -> Any:
    """The type of an option with its help text, and with what the help says of its default, if tyro cannot know it."""
    return Annotated[kind, tyro.conf.arg(help=" ".join(text.split()), help_behavior_hint=default)]


def split(arguments: Sequence[str], kind: type[Any]) -> tuple[list[str], list[str]]:
    """Splits the arguments into those of the dataclass `kind` and the options of `asyncrl train`.

    Raises:
        UserError: An option of `kind` is given twice.
    """
    own: list[str] = []
    passed: list[str] = []
    mine = {*_option_names(kind), "--help", "-h"}
    seen: set[str] = set()
    into = own
    for word in arguments:
        if word.startswith("-") and not _is_number(word):
            option = word.split("=", 1)[0].replace("_", "-")
            into = own if option in mine else passed
            if into is own and option in seen:
                raise UserError(f"give {option} once, with everything that belongs to it")
            seen.add(option)
        into.append(word)
    return own, passed


def _option_names(kind: type[Any]) -> set[str]:
    """The options of a dataclass; a field's name can be replaced by `tyro.conf.arg`."""
    names = set()
    for name, hint in get_type_hints(kind, include_extras=True).items():
        details = getattr(hint, "__metadata__", ())
        if tyro.conf.Positional not in details:
            names.add(next((detail.name for detail in details if getattr(detail, "name", None)), name))
    return {f"--{name.replace('_', '-')}" for name in names}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def option_names(words: Sequence[str]) -> set[str]:
    """The names of the settings that options on a command line give, and those of words that are no options."""
    return {word.split("=", 1)[0].lstrip("-").replace("-", "_") for word in words}


def parse_pairs(texts: Sequence[str], option: str, example: str) -> list[tuple[str, str]]:
    """Settings and what is said of each, from texts such as learning_rate=1e-4:1e-2.

    Raises:
        UserError: A text does not have that form.
    """
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, values) in zip(texts, pairs, strict=True):
        if not name or not values:
            raise UserError(f"{option} takes settings like {example}, not {text!r}")
    return [(name.replace("-", "_"), values) for name, _, values in pairs]


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """The options of an environment, such as `rows=12 memory=true`, as a dictionary; values are read as YAML.

    Raises:
        UserError: One of them does not have the form key=value.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"environment options look like rows=12, not {pair!r}")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"the environment option {pair!r} cannot be read: quote its value") from None
    return options
