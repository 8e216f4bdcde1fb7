"""Which parts of an observation matter, to the policy and to the value apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from asyncrl.analysis.inspection.recording import Recording
from asyncrl.networks.torso import channels_last, is_image
from asyncrl.runtime.agent import Agent
from asyncrl.tree import tree_map
from asyncrl.types import Outputs

Map = NDArray[np.float32]  # [H, W] of an image or a board, [D] of a vector
SMALL = 36
"""Images with a shorter side are changed cell by cell; blurs of larger ones are a few cells wide."""
MASK, BLUR, STRIDE = 5 / 84, 3 / 84, 5 / 84
"""Deviations of mask and blur and distance of the masks, as shares of an image's side (Greydanus et al. 2018, §3)."""
REPLACEMENTS = 32
"""States whose entries take the place of an entry of a vector."""
BATCH = 400
"""Places that are changed at a time."""


@dataclass(frozen=True)
class Saliency:
    """Maps of one state."""

    policy: Map
    value: Map | None  # None if the network says nothing of values


def by_perturbation(recording: Recording, number: int, key: str = "") -> Saliency:
    """How much changing a place changes what the heads say (Greydanus et al. 2018, eq. 2 and 3).

    S_π = ½ ‖π(s) - π(s')‖² of logits, action values or means, and S_V = ½ (V(s) - V(s'))². Large images are blurred
    around the place, small ones have one cell set to zero, an entry of a vector is replaced by its values in other
    states (the mean over them is taken).

    Args:
        recording: Where the state is.
        number: Which one.
        key: Of the part of the observation; `` for observations that are one array.
    """
    observation, readout = recording.observations([number]), recording.readout
    with torch.no_grad():
        before = _outputs(recording, number, observation)
        policy, value = readout.policy(before), readout.value(before)
        size, batches = _changed(recording, key, _parts(observation)[key][0])
        found_policy, found_value = np.zeros(math.prod(size), np.float32), np.zeros(math.prod(size), np.float32)
        for places, changed in batches:
            after = _outputs(recording, number, _replaced(observation, key, changed))
            distance = 0.5 * (readout.policy(after) - policy).square().sum(-1)
            found_policy[places] = distance.reshape(-1, len(places)).mean(0).numpy()
            new = readout.value(after)
            if value is not None and new is not None:
                found_value[places] = 0.5 * (new - value).square().reshape(-1, len(places)).mean(0).numpy()
    return Saliency(found_policy.reshape(size), None if value is None else found_value.reshape(size))


def by_gradient(recording: Recording, number: int, key: str = "") -> Saliency:
    """The absolute gradient of what the heads say, by the observation (Simonyan et al. 2014; Wang et al. 2016, §4.2).

    Of the policy that of the preferred action's logit, advantage or mean; of an image the largest over its channels.

    Args:
        recording: Where the state is.
        number: Which one.
        key: Of the part of the observation; `` for observations that are one array.

    Raises:
        ImportError: captum is not installed.
        RuntimeError: The network has no gradient by that part.
    """
    from captum.attr import Saliency as Gradients

    readout, observation = recording.readout, recording.observations([number])
    rows, space = _parts(observation)[key], spaces_of(recording.agent)[key]

    def map_of(scalar: Callable[[Outputs], Tensor | None]) -> Map:
        def forward(part: Tensor) -> Tensor | None:
            return scalar(_outputs(recording, number, _replaced(observation, key, part)))

        gradients = Gradients(forward).attribute(rows.float().requires_grad_(), abs=True)[0].detach().numpy()
        if gradients.ndim > 2:
            image = gradients if not is_image(space) or channels_last(space) else np.moveaxis(gradients, 0, -1)
            gradients = image.reshape(*image.shape[:2], -1).max(-1)
        return np.asarray(gradients, np.float32)

    return Saliency(map_of(readout.preferred), map_of(readout.value) if readout.has_value else None)


def _outputs(recording: Recording, number: int, observation: Any) -> Outputs:
    """What the network says of observations [N, ...] in the place of one state."""
    count = len(next(iter(_parts(observation).values())))
    decision, network = recording.decisions[number], recording.agent.network
    rows = tree_map(lambda part: part[None], observation)
    outputs, _ = network(rows, recording.states(number, count), decision.first.expand(1, count))
    found: Outputs = outputs
    return found


def _changed(
    recording: Recording, key: str, observation: Tensor
) -> tuple[tuple[int, ...], Iterator[tuple[NDArray[np.int64], Tensor]]]:
    """The map's shape, and places in it with observations changed there, [places, ...] or a multiple of it."""
    if observation.dim() == 1:
        return (len(observation),), _vectors(recording, key, observation)
    space = spaces_of(recording.agent)[key]
    first = is_image(space) and not channels_last(space)
    image = np.moveaxis(observation.numpy(), 0, -1) if first else observation.numpy()
    small = min(image.shape[:2]) < SMALL
    size, masks = _cells(image) if small else _masks(image)
    plain = image.astype(np.float32)
    sigma = BLUR * min(image.shape[:2])
    instead = np.zeros_like(plain) if small else gaussian_filter(plain, (sigma, sigma, *(0,) * (image.ndim - 2)))

    def batches() -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        for places in np.array_split(np.arange(len(masks)), -(-len(masks) // BATCH)):
            mask = masks[places].reshape(len(places), *image.shape[:2], *(1,) * (image.ndim - 2))
            changed = plain * (1 - mask) + instead * mask
            if not np.issubdtype(space.dtype, np.floating):
                changed = np.rint(changed)
            changed = np.moveaxis(changed, -1, 1) if first else changed
            yield places, torch.from_numpy(np.ascontiguousarray(changed.astype(space.dtype)))

    return size, batches()


def _cells(image: NDArray[Any]) -> tuple[tuple[int, int], NDArray[np.float32]]:
    """A mask for each cell [H·W, H, W]."""
    height, width = image.shape[:2]
    return (height, width), np.eye(height * width, dtype=np.float32).reshape(-1, height, width)


def _masks(image: NDArray[Any]) -> tuple[tuple[int, int], NDArray[np.float32]]:
    """Gaussian masks around the points of a grid [rows·columns, H, W]."""
    height, width = image.shape[:2]
    side = min(height, width)
    ys, xs = (np.arange(STRIDE * side / 2, length, STRIDE * side) for length in (height, width))
    vertical = np.exp(-0.5 * ((np.arange(height) - ys[:, None]) / (MASK * side)) ** 2)  # [rows, H]
    horizontal = np.exp(-0.5 * ((np.arange(width) - xs[:, None]) / (MASK * side)) ** 2)  # [columns, W]
    masks = (vertical[:, None, :, None] * horizontal[None, :, None, :]).reshape(-1, height, width)
    return (len(ys), len(xs)), masks.astype(np.float32)


def _vectors(recording: Recording, key: str, vector: Tensor) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """The vector [D] with entries replaced by those of other states, R for each; not those that never vary."""
    numbers = np.linspace(0, len(recording) - 1, REPLACEMENTS).astype(int)
    others = _parts(recording.observations(numbers))[key]  # [R, D]
    varying = np.flatnonzero((others != vector).any(0).numpy())
    for places in np.array_split(varying, -(-len(varying) // BATCH) or 1):
        if len(places):
            changed = vector.expand(len(others), len(places), -1).clone()  # [R, places, D]
            changed[:, np.arange(len(places)), places] = others[:, places]
            yield places, changed.flatten(0, 1)


def _replaced(observation: Any, key: str, rows: Tensor) -> Any:
    """The observation [1, ...] repeated, with one part replaced by rows [M, ...]."""
    if not isinstance(observation, Mapping):
        return rows
    return {
        name: rows if name == key else part.expand(len(rows), *part.shape[1:]) for name, part in observation.items()
    }


def _parts(observation: Any) -> Mapping[str, Tensor]:
    return observation if isinstance(observation, Mapping) else {"": observation}


def spaces_of(agent: Agent) -> Mapping[str, Box]:
    """What an agent observes, by key; `` for observations that are one array."""
    space: Any = agent.info.observation_space
    return cast(Mapping[str, Box], space.spaces) if isinstance(space, Dict) else {"": space}
