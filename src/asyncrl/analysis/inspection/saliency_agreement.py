"""Whether two methods of saliency find the same places, and why they may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from asyncrl.analysis.inspection.saliency import NAMES, Map, Saliency

AGREE = 0.5
"""Two methods agree if their maps have at least this correlation, as a mean over the states shown."""
VECTORS_DISAGREE = (
    "Perturbation replaces an entry by the values that it has in other states, while gradients ask for a change of one "
    "in the entry's own unit. So an entry that hardly varies in play, but to which the outputs are sensitive, has a "
    "longer bar by gradients."
)
SMALL_DISAGREE = (
    "Perturbation sets a cell to zero, so it cannot find anything in a cell that is zero already. Gradients also mark "
    "empty cells, where something could have appeared."
)
LARGE_DISAGREE = (
    "Perturbation blurs a place, which changes nothing where the picture is uniform. Gradients also mark such places, "
    "and single pixels that a blur hardly touches."
)


def why_they_disagree(
    perturbation: Sequence[Saliency], gradients: Sequence[Saliency], names: Mapping[str, str] = NAMES
) -> str:
    """Says why the two methods find different places for the policy or the value; empty where they agree.

    Args:
        perturbation: The saliency of some states by perturbation.
        gradients: The saliency of the same states by gradients.
        names: What the two maps are called.
    """
    differ: list[str] = []
    for what in ("policy", "value"):
        pairs = [(getattr(one, what), getattr(other, what)) for one, other in zip(perturbation, gradients, strict=True)]
        agreement = [_correlation(*pair) for pair in pairs if pair[0] is not None and pair[0].any() and pair[1].any()]
        if agreement and np.mean(agreement) < AGREE:
            differ.append(f"{names[what]} (correlation {np.mean(agreement):.2f})")
    if not differ:
        return ""
    first = perturbation[0].policy
    reason = (
        VECTORS_DISAGREE
        if first.ndim == 1
        else LARGE_DISAGREE
        if first.shape != gradients[0].policy.shape
        else (SMALL_DISAGREE)
    )
    return f"The two methods disagree about the {' and the '.join(differ)}. {reason}"


def _correlation(perturbation: Map, gradients: Map) -> float:
    """The correlation of two maps of one state; the finer one is reduced to the largest entry of each cell."""
    for axis, cells in enumerate(perturbation.shape):
        parts = np.array_split(gradients, cells, axis)
        gradients = np.stack([part.max(axis) for part in parts], axis)
    with np.errstate(invalid="ignore"):  # a constant map correlates with nothing
        return float(np.nan_to_num(np.corrcoef(perturbation.ravel(), gradients.ravel())[0, 1]))
