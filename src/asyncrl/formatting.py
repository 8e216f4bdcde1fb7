"""Numbers and times as people read them."""

from __future__ import annotations


def short(number: float) -> str:
    """A number with at most three digits and a suffix: 1234567 as 1.23M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}" if abs(number) < 999.5 * size else f"{number / size:.0f}{letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """A time in its two largest units: 3700 as 1 h 01 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def counted(number: int, noun: str) -> str:
    """A number with a noun whose plural ends in s: "1 worker", "2 workers"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
