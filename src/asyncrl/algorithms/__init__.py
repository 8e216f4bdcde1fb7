"""One file per paper; this table is where an algorithm gets its name on the command line."""

from dataclasses import fields

from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.acer import ACER
from asyncrl.algorithms.base import Algorithm
from asyncrl.algorithms.dqn import DQN
from asyncrl.algorithms.impala import IMPALA
from asyncrl.algorithms.nfq import NFQ
from asyncrl.algorithms.nstep_q import NStepQ
from asyncrl.algorithms.onestep_q import OneStepQ
from asyncrl.algorithms.pgq import PGQ
from asyncrl.algorithms.ppo import PPO
from asyncrl.algorithms.pqn import PQN
from asyncrl.algorithms.sarsa import Sarsa
from asyncrl.algorithms.unreal import Unreal
from asyncrl.algorithms.value_based import ValueBased
from asyncrl.errors import UserError
from asyncrl.importing import import_object, path_of

VALUE_BASED: dict[str, type[ValueBased]] = {"nstep-q": NStepQ, "onestep-q": OneStepQ, "sarsa": Sarsa}

ALGORITHMS: dict[str, type[Algorithm]] = {
    "a3c": A3C,
    "unreal": Unreal,
    **VALUE_BASED,
    "dqn": DQN,
    "acer": ACER,
    "pgq": PGQ,
    "pqn": PQN,
    "ppo": PPO,
    "impala": IMPALA,
    "nfq": NFQ,
}


def algorithm_class(name: str) -> type[Algorithm]:
    """The algorithm of that name, or at that import path `module:Class`.

    Raises:
        UserError: There is none.
    """
    if ":" in name:
        cls: type[Algorithm] = import_object(name, "algorithm")
        return cls
    if name not in ALGORITHMS:
        raise UserError(
            f"unknown algorithm {name!r}: choose one of {', '.join(ALGORITHMS)}, or give an import path module:Class"
        )
    return ALGORITHMS[name]


def algorithm_name(algorithm: Algorithm | type[Algorithm]) -> str:
    """The name under which `algorithm_class` finds a class, or the class of an algorithm, again."""
    cls = algorithm if isinstance(algorithm, type) else type(algorithm)
    return next((name for name, known in ALGORITHMS.items() if known is cls), None) or path_of(cls)


def owners_of(setting: str) -> list[str]:
    """Names of the algorithms that have a setting of that name."""
    return [name for name, cls in ALGORITHMS.items() if any(field.name == setting for field in fields(cls))]  # type: ignore[arg-type]
