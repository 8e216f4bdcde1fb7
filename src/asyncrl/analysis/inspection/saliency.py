"""Saliency: how much each part of an observation matters to the policy, and to the value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from asyncrl.analysis.inspection.recording import Recording
from asyncrl.networks.images import channels_last, is_image
from asyncrl.runtime.agent import Agent
from asyncrl.tree import tree_map
from asyncrl.types import ACTION_MASK, Outputs

Map = NDArray[np.float32]  # [H, W] of an image or a board, [D] of a vector
SMALL = 36
"""Images with a shorter side than this are perturbed pixel by pixel, larger ones by a local blur."""
MASK, BLUR, STRIDE = 5 / 84, 3 / 84, 5 / 84
"""Standard deviation of mask and blur, and distance between masks, as shares of the image's shorter side.

The numbers are those of Greydanus et al. 2018, §3, for images of 84 × 84.
"""
NAMES = {"policy": "policy", "value": "value"}
STREAMS = {"policy": "advantage stream", "value": "value stream"}
"""What the two maps of a dueling network show (Wang et al. 2016, §4.2)."""
REPLACEMENTS = 32
"""Number of other states whose entries replace an entry of a vector."""
BATCH = 400
"""Number of places perturbed in one batch."""


@dataclass(frozen=True)
class Saliency:
    """The saliency of one state's observation."""

    policy: Map
    value: Map | None  # None if the network has no value output


def by_perturbation(recording: Recording, number: int, key: str = "") -> Saliency:
    """Measures how much perturbing each place changes the outputs (Greydanus et al. 2018, eq. 2 and 3).

    S_π = ½ ‖π(s) - π(s')‖² of logits, action values or means, and S_V = ½ (V(s) - V(s'))². Large images are blurred
    around the place. In small images, one pixel is set to zero. An entry of a vector is replaced by its values in
    other states, and the mean over them is taken.

    Args:
        recording: The recorded steps.
        number: The number of the step.
        key: The entry of a dictionary observation; empty for observations that are one array.
    """
    observation, readout = recording.observations([number]), recording.readout
    with torch.no_grad():
        before = _outputs(recording, number, observation)
        policy, value = readout.policy(before), readout.value(before)
        size, batches = _perturbed(recording, key, _parts(observation)[key][0])
        policy_map, value_map = (np.zeros(math.prod(size), np.float32) for _ in range(2))
        for places, perturbed in batches:
            after = _outputs(recording, number, _replaced(observation, key, perturbed))
            distance = 0.5 * (readout.policy(after) - policy).square().sum(-1)
            policy_map[places] = distance.reshape(-1, len(places)).mean(0).numpy()
            new = readout.value(after)
            if value is not None and new is not None:
                value_map[places] = 0.5 * (new - value).square().reshape(-1, len(places)).mean(0).numpy()
    return Saliency(policy_map.reshape(size), None if value is None else value_map.reshape(size))


def by_gradient(recording: Recording, number: int, key: str = "") -> Saliency:
    """The absolute gradient of the outputs by the observation (Simonyan et al. 2014; Wang et al. 2016, §4.2).

    For the policy this is the gradient of the preferred action's logit, advantage or mean: in a dueling network
    |∂A(s, argmax_a A) / ∂s| beside |∂V(s) / ∂s|. Of an image's channels, the largest gradient is taken.

    Deviation: The mean over all actions is taken off the advantages, as it is in Q. Wang et al. take the output of the
    advantage stream itself, whose mean has no influence on Q.

    Args:
        recording: The recorded steps.
        number: The number of the step.
        key: The entry of a dictionary observation; empty for observations that are one array.

    Raises:
        RuntimeError: The network is not differentiable by that entry.
    """
    readout, observation = recording.readout, recording.observations([number])
    space = spaces_of(recording.agent)[key]
    rows = _parts(observation)[key].float().requires_grad_()
    outputs = _outputs(recording, number, _replaced(observation, key, rows))

    def map_of(scalar: Tensor) -> Map:
        (gradient,) = torch.autograd.grad(scalar.sum(), rows, retain_graph=True)
        sizes = gradient[0].abs().numpy()
        if sizes.ndim > 2:
            image = np.moveaxis(sizes, 0, -1) if is_channels_first(space) else sizes
            sizes = image.reshape(*image.shape[:2], -1).max(-1)
        return np.asarray(sizes, np.float32)

    value = readout.value(outputs)
    return Saliency(map_of(readout.preferred(outputs)), None if value is None else map_of(value))


def names_for(recording: Recording) -> Mapping[str, str]:
    """What the maps for policy and value are called: a dueling network has a stream for each."""
    return STREAMS if recording.readout.dueling else NAMES


def _outputs(recording: Recording, number: int, observation: Any) -> Outputs:
    """The network's outputs if one step's observation is replaced by each of the observations [N, ...]."""
    count = len(next(iter(_parts(observation).values())))
    first, network = recording.steps[number].decision.first, recording.agent.network
    rows = tree_map(lambda part: part[None], observation)
    outputs: Outputs = network(rows, recording.recurrent_state(number, count), first.expand(1, count))[0]
    return outputs


def _perturbed(
    recording: Recording, key: str, observation: Tensor
) -> tuple[tuple[int, ...], Iterator[tuple[NDArray[np.int64], Tensor]]]:
    """The map's shape, and batches of places with the observations that are perturbed there.

    A batch holds R observations for each of its places: [R · places, ...].
    """
    if observation.dim() == 1:
        return (len(observation),), _perturbed_vectors(recording, key, observation)
    space = spaces_of(recording.agent)[key]
    channels_first = is_channels_first(space)
    image = (np.moveaxis(observation.numpy(), 0, -1) if channels_first else observation.numpy()).astype(np.float32)
    small = min(image.shape[:2]) < SMALL
    size, masks = _pixel_masks(image) if small else _gaussian_masks(image)
    sigma = BLUR * min(image.shape[:2])
    replacement = np.zeros_like(image) if small else gaussian_filter(image, (sigma, sigma, *(0,) * (image.ndim - 2)))

    def batches() -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        for places in np.array_split(np.arange(len(masks)), -(-len(masks) // BATCH)):
            mask = masks[places].reshape(len(places), *image.shape[:2], *(1,) * (image.ndim - 2))
            perturbed = image * (1 - mask) + replacement * mask
            if not np.issubdtype(space.dtype, np.floating):
                perturbed = np.rint(perturbed)
            perturbed = np.moveaxis(perturbed, -1, 1) if channels_first else perturbed
            yield places, torch.from_numpy(np.ascontiguousarray(perturbed.astype(space.dtype)))

    return size, batches()


def _pixel_masks(image: NDArray[Any]) -> tuple[tuple[int, int], NDArray[np.float32]]:
    """A mask for each pixel [H·W, H, W]."""
    height, width = image.shape[:2]
    return (height, width), np.eye(height * width, dtype=np.float32).reshape(-1, height, width)


def _gaussian_masks(image: NDArray[Any]) -> tuple[tuple[int, int], NDArray[np.float32]]:
    """Gaussian masks around the points of a grid [rows·columns, H, W]."""
    height, width = image.shape[:2]
    side = min(height, width)
    ys, xs = (np.arange(STRIDE * side / 2, length, STRIDE * side) for length in (height, width))
    vertical = np.exp(-0.5 * ((np.arange(height) - ys[:, None]) / (MASK * side)) ** 2)  # [rows, H]
    horizontal = np.exp(-0.5 * ((np.arange(width) - xs[:, None]) / (MASK * side)) ** 2)  # [columns, W]
    masks = (vertical[:, None, :, None] * horizontal[None, :, None, :]).reshape(-1, height, width)
    return (len(ys), len(xs)), masks.astype(np.float32)


def _perturbed_vectors(recording: Recording, key: str, vector: Tensor) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """The vector [D] with each entry that varies replaced by those of R other states."""
    numbers = np.linspace(0, len(recording) - 1, REPLACEMENTS).astype(int)
    others = _parts(recording.observations(numbers))[key]  # [R, D]
    varying = np.flatnonzero((others != vector).any(0).numpy())
    for places in np.array_split(varying, -(-len(varying) // BATCH) or 1):
        if len(places):
            perturbed = vector.expand(len(others), len(places), -1).clone()  # [R, places, D]
            perturbed[:, np.arange(len(places)), places] = others[:, places]
            yield places, perturbed.flatten(0, 1)


def _replaced(observation: Any, key: str, rows: Tensor) -> Any:
    """The observation [1, ...] repeated, with one entry replaced by rows [M, ...]."""
    if not isinstance(observation, Mapping):
        return rows
    return {
        name: rows if name == key else part.expand(len(rows), *part.shape[1:]) for name, part in observation.items()
    }


def _parts(observation: Any) -> Mapping[str, Tensor]:
    return observation if isinstance(observation, Mapping) else {"": observation}


def is_channels_first(space: Box) -> bool:
    """Whether a space holds images of shape [C, H, W]."""
    return is_image(space) and not channels_last(space)


def spaces_of(agent: Agent) -> Mapping[str, Box]:
    """The observation space by key, without action masks; the key of observations that are one array is empty."""
    space: Any = agent.info.observation_space
    parts = cast(Mapping[str, Box], space.spaces if isinstance(space, Dict) else {"": space})
    return {key: part for key, part in parts.items() if key != ACTION_MASK}
