"""Damaged bytes and data, such as a crash, a bad disk or an attacker may leave behind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["format_version", "sha256", "state", "steps", "tensors", "files"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """Draws a damaged version of some bytes: cut short, with bytes changed or inserted, or replaced altogether."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "noise", "nested"]))
    place = draw(st.integers(0, len(original) - 1))
    if kind == "cut":
        return original[:place]
    if kind == "flip":
        return original[:place] + bytes([original[place] ^ draw(st.integers(1, 255))]) + original[place + 1 :]
    if kind == "insert":
        return original[:place] + draw(st.binary(max_size=20)) + original[place:]
    if kind == "nested":
        return draw(st.sampled_from([b"[", b'{"a":', b"- ", b"&a [*a,"])) * draw(st.integers(1, 20_000))
    return draw(st.binary(max_size=200))
