"""How decided an agent's choices are: a policy that is still random has nothing to show yet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asyncrl.analysis.inspection.recording import Recording

RANDOM = 0.95
"""A policy is still random if its entropy is at least this share of the greatest possible entropy."""
RANDOM_NOISE = 0.95
"""A Gaussian policy is still random if noise makes at least this share of its mean squared action."""
RANDOM_WARNING = "The policy is still random: do not read this."


@dataclass(frozen=True)
class Decidedness:
    """How decided an agent's choices are over the recorded states."""

    text: str  # a sentence for the verdict
    is_random: bool = False  # whether the policy hardly prefers any action


def decidedness_of(recording: Recording) -> Decidedness:
    """Judges a policy by its entropy or its noise, and action values by how far apart the best two are.

    Only allowed actions count.
    """
    kind = recording.readout.kind
    if kind == "probabilities":
        return _of_probabilities(recording)
    return _of_distribution(recording) if kind == "distribution" else _of_action_values(recording)


def _of_probabilities(recording: Recording) -> Decidedness:
    probabilities = recording.reading.preferences.astype(float)  # [N, K]
    entropy = -np.where(probabilities > 0, probabilities * np.log(np.maximum(probabilities, 1e-300)), 0).sum(1).mean()
    parts = np.split(recording.allowed, np.cumsum(recording.readout.sizes)[:-1], 1)
    greatest = sum(np.log(part.sum(1)) for part in parts).mean()
    share = float(entropy / (greatest or 1.0))
    among = " among the allowed actions" if recording.agent.info.masked else ""
    measured = f"its entropy is {share:.0%} of the entropy of uniformly random choice{among}"
    if share >= RANDOM:
        return Decidedness(f"The policy is still random: {measured}.", True)
    if share >= 0.5:
        return Decidedness(f"The policy prefers some actions but often tries others: {measured}.")
    return Decidedness(f"The policy is decided: {measured}.")


def _of_distribution(recording: Recording) -> Decidedness:
    deviations = recording.reading.deviations
    assert deviations is not None
    noise, chosen = float(np.square(deviations).mean()), float(np.square(recording.reading.preferences).mean())
    share = noise / (noise + chosen)
    measured = (
        f"its mean actions have a size of {math.sqrt(chosen):.2g} on average, and the noise added to them has a "
        f"standard deviation of {math.sqrt(noise):.2g} (the bounds of actions are -1 and 1)"
    )
    if share >= RANDOM_NOISE:
        return Decidedness(f"The policy is still random: {measured}.", True)
    return Decidedness(f"The policy is {'decided' if share < 0.5 else 'still noisy'}: {measured}.")


def _of_action_values(recording: Recording) -> Decidedness:
    choices = recording.allowed.sum(1) > 1  # states [N] that leave a choice
    if not choices.any():
        return Decidedness("It never has a choice between actions.")
    best_two = np.sort(np.where(recording.allowed, recording.reading.preferences, -np.inf)[choices], axis=1)[:, -2:]
    gap = float(np.ptp(best_two, axis=1).mean())
    return Decidedness(
        f"It takes the action of the highest value. The highest value exceeds the second highest by {gap:.2g} on "
        "average (training units)."
    )
