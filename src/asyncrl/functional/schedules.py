"""Values that change over a run, as functions of the global step counter."""


def linear(start: float, end: float, step: int, duration: int) -> float:
    """Interpolates from `start` at step 0 to `end` at step `duration`; the value stays at `end` afterwards."""
    fraction = min(1.0, max(0.0, step / duration))
    return start + (end - start) * fraction
