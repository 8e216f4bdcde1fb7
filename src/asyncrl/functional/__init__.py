"""Pure mathematics on tensors: functions take tensors and return unreduced tensors [T, B].

Submodules load on first use, so that the modules of settings can import this package without importing torch.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrl.functional import (
        auxiliary,
        categorical,
        exploration,
        gaussian,
        hashing,
        masking,
        moments,
        off_policy,
        policy_gradient,
        returns,
        schedules,
        value_learning,
    )

__all__ = [
    "auxiliary",
    "categorical",
    "exploration",
    "gaussian",
    "hashing",
    "masking",
    "moments",
    "off_policy",
    "policy_gradient",
    "returns",
    "schedules",
    "value_learning",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
