"""The few loops that torch is slow at, compiled for the processor at hand.

They need llvmlite (the extra `fast`). Where it is missing or does not work, torch computes the same; tests compare the
two.
"""

import warnings
from functools import cache
from importlib.util import find_spec


def available() -> bool:
    """Whether loops can be compiled on this machine."""
    return not problem()


@cache
def problem() -> str:
    """Why loops cannot be compiled on this machine, or an empty string. Warns of an installed compiler that fails."""
    if find_spec("llvmlite") is None:
        return "llvmlite is not installed"
    try:
        from asyncrl.kernels.llvm import check

        check()
    except Exception as error:
        reason = f"llvmlite does not work here ({type(error).__name__}: {error})"
        warnings.warn(f"{reason}: torch's own loops are used, which are slower", stacklevel=2)
        return reason
    return ""
