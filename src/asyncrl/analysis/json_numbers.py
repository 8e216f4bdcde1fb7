"""Numbers as JSON can hold them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def json_numbers(numbers: ArrayLike) -> Any:
    """Converts a number or an array to plain (nested lists of) floats with six significant digits.

    NaN and infinities, which JSON does not have, become None.
    """
    return _json(np.asarray(numbers, float).tolist())


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(item) for item in value]
    return float(f"{value:.6g}") if math.isfinite(value) else None
