"""Values that change over a run, as functions of the global step counter."""


def linear(start: float, end: float, step: int, duration: int) -> float:
    """From `start` at step 0 to `end` at step `duration`, and `end` from there on."""
    fraction = min(1.0, max(0.0, step / duration))
    return start + (end - start) * fraction
