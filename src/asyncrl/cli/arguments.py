"""From argument lists to typed dataclasses, for all commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro
import yaml
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from asyncrl.config import Experiment
from asyncrl.errors import UserError

Arguments = TypeVar("Arguments")

SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def parse_steps(text: str) -> int:
    """A whole number such as a count of steps: 500000, 500k, 2M, 1e6.

    Raises:
        ValueError: It is none of these.
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
    """The arguments as `kind`; prints help, or what is wrong and how to mend it, and exits where that is due.

    With a default, which may have switches on, each switch is taken as --name and as --no-name.
    """
    switches = () if default is not None else (tyro.conf.FlagCreatePairsOff,)
    options = {} if default is None else {"default": default}
    parsed: Arguments = tyro.cli(
        kind,
        prog=f"asyncrl {command}",
        description=text or None,
        args=list(arguments),
        registry=REGISTRY,
        config=(tyro.conf.OmitArgPrefixes, *switches),
        **options,
    )
    return parsed


def split(arguments: Sequence[str], kind: type[Any]) -> tuple[list[str], list[str]]:
    """The arguments that belong to the dataclass `kind`, and the options that are left for `asyncrl train`.

    Raises:
        UserError: An option is there twice.
    """
    own: list[str] = []
    passed: list[str] = []
    names = [field.name.replace("_", "-") for field in dataclasses.fields(kind) if field.name != "environment"]
    mine = {f"--{name}" for name in names} | {"--help", "-h"}
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


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def settings_class(experiment: Experiment) -> type[Experiment]:
    """`Experiment` as the command line shows it: with its algorithm's own settings."""
    fields: list[Any] = [
        ("environment", tyro.conf.Positional[str], ""),
        ("algorithm", type(experiment.algorithm), experiment.algorithm),
        ("environment_options", tyro.conf.Suppress[dict[str, Any]], dataclasses.field(default_factory=dict)),
    ]
    return dataclasses.make_dataclass("Experiment", fields, bases=(Experiment,), frozen=True)


def convert(experiment: Experiment, kind: type[Experiment]) -> Experiment:
    """The same settings as an instance of `kind`."""
    return kind(**{field.name: getattr(experiment, field.name) for field in dataclasses.fields(Experiment)})


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """`rows=12 memory=true` as a dictionary; values are read as YAML.

    Raises:
        UserError: One is not of the form key=value.
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
