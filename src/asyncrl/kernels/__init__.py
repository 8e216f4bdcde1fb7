"""The few loops that torch is slow at, compiled for the processor at hand.

They need llvmlite (the extra `fast`). Where it is missing or does not work torch does the same; tests hold the two
together.
"""

import warnings
from functools import cache
from importlib.util import find_spec


def available() -> bool:
    """Whether loops can be compiled here."""
    return not problem()


@cache
def problem() -> str:
    """Why no loops can be compiled here; empty if they can. An installed compiler that does not work is warned of."""
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
