"""Which parts of an observation matter, to the policy and to the value apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from asyncrl.agent import Agent
from asyncrl.analysis.inspection.recording import Recording
from asyncrl.networks.torso import channels_last, is_image
from asyncrl.tree import tree_map
from asyncrl.types import Outputs

Map = NDArray[np.float32]  # [H, W] of an image or a board, [D] of a vector
SMALL = 36
"""Images with a shorter side are changed cell by cell; blurs of larger ones are a few cells wide."""
MASK, BLUR, STRIDE = 5 / 84, 3 / 84, 5 / 84
"""Deviations of mask and blur and distance of the masks, as shares of an image's side (Greydanus et al. 2018, §3)."""
REPLACEMENTS = 32
"""States whose entries take the place of an entry of a vector."""


@dataclass(frozen=True)
class Saliency:
    """Maps of one state, by key of the observation; `` for observations that are one array."""

    policy: Mapping[str, Map]
    value: Mapping[str, Map]


def by_perturbation(recording: Recording, number: int) -> Saliency:
    """How much changing a place changes what the heads say (Greydanus et al. 2018, eq. 2 and 3).

    S_π = ½ ‖π(s) - π(s')‖² of logits, action values or means, and S_V = ½ (V(s) - V(s'))². Large images are blurred
    around the place, small ones and boards have one cell set to zero, an entry of a vector is replaced by its values
    in other states (the mean over them is taken).
    """
    observation = recording.observations([number])
    readout = recording.readout
    policy: dict[str, Map] = {}
    value: dict[str, Map] = {}
    with torch.no_grad():
        before = _outputs(recording, number, observation)
        for key, rows in _parts(observation).items():
            changed, shape = _changed(recording, key, rows[0])
            batch = _replaced(observation, key, changed)
            after = _outputs(recording, number, batch)
            distance = 0.5 * (readout.policy(after) - readout.policy(before)).square().sum(-1)
            policy[key] = distance.reshape(-1, *shape).mean(0).numpy()
            difference = 0.5 * (readout.value(after) - readout.value(before)).square()
            value[key] = difference.reshape(-1, *shape).mean(0).numpy()
    return Saliency(policy, value)


def by_gradient(recording: Recording, number: int) -> Saliency:
    """The absolute gradient of what the heads say, by the observation (Simonyan et al. 2014; Wang et al. 2016, §4.2).

    Of the policy the preferred action's logit, advantage or mean is taken; of an image the largest over its channels.

    Raises:
        ImportError: captum is not installed.
    """
    from captum.attr import Saliency as Gradients

    readout, observation = recording.readout, recording.observations([number])
    spaces = spaces_of(recording.agent)

    def map_of(key: str, scalar: Callable[[Outputs], Tensor]) -> Map:
        def forward(part: Tensor) -> Tensor:
            return scalar(_outputs(recording, number, _replaced(observation, key, part)))

        rows = _parts(observation)[key]
        scaled_here = (
            rows.dtype == torch.uint8 and not is_image(spaces[key]) and recording.agent.network.normalizer is None
        )
        start = rows.float() / (255 if scaled_here else 1)
        gradients = Gradients(forward).attribute(start.requires_grad_(), abs=True)[0].detach().numpy()
        if is_image(spaces[key]):
            gradients = gradients.max(-1 if channels_last(spaces[key]) else 0)
        return np.asarray(gradients, np.float32)

    def preferred(outputs: Outputs) -> Tensor:
        policy = readout.policy(outputs)
        chosen = policy.detach().abs().argmax(-1) if readout.kind == "distribution" else policy.argmax(-1)
        return policy.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)

    keys = list(_parts(observation))
    return Saliency({key: map_of(key, preferred) for key in keys}, {key: map_of(key, readout.value) for key in keys})


def _outputs(recording: Recording, number: int, observation: Any) -> Outputs:
    """What the network says of observations [N, ...] in the place of one state."""
    count = len(next(iter(_parts(observation).values())))
    decision, network = recording.decisions[number], recording.agent.network
    rows = tree_map(lambda part: part[None], observation)
    outputs, _ = network(rows, recording.states(number, count), decision.first.expand(1, count))
    found: Outputs = outputs
    return found


def _changed(recording: Recording, key: str, observation: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """An observation changed in M places [M, ...], M being a multiple of the map's size, and the map's shape."""
    space = spaces_of(recording.agent)[key]
    if observation.dim() == 1:
        return _vectors(recording, key, observation), (len(observation),)
    last = is_image(space) and channels_last(space)
    image = observation.numpy()
    if is_image(space) and not last:
        image = np.moveaxis(image, 0, -1)
    height, width = image.shape[:2]
    if min(height, width) < SMALL:
        cells = np.eye(height * width, dtype=bool).reshape(-1, height, width, *(1,) * (image.ndim - 2))
        changed, shape = np.where(cells, np.zeros_like(image), image), (height, width)
    else:
        changed, shape = _blurred(image)
    if is_image(space) and not last:
        changed = np.moveaxis(changed, -1, 1)
    return torch.from_numpy(np.ascontiguousarray(changed.astype(space.dtype))), shape


def _blurred(image: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """The image [H, W, ...] blurred around each point of a grid [rows · columns, H, W, ...], and the grid's shape."""
    height, width = image.shape[:2]
    side = min(height, width)
    ys, xs = (np.arange(STRIDE * side / 2, length, STRIDE * side) for length in (height, width))
    vertical = np.exp(-0.5 * ((np.arange(height) - ys[:, None]) / (MASK * side)) ** 2)  # [rows, H]
    horizontal = np.exp(-0.5 * ((np.arange(width) - xs[:, None]) / (MASK * side)) ** 2)  # [columns, W]
    masks = (vertical[:, None, :, None] * horizontal[None, :, None, :]).reshape(-1, height, width).astype(np.float32)
    masks = masks.reshape(*masks.shape, *(1,) * (image.ndim - 2))
    sigma = (BLUR * side, BLUR * side, *(0,) * (image.ndim - 2))
    plain = image.astype(np.float32)
    return plain * (1 - masks) + gaussian_filter(plain, sigma) * masks, (len(ys), len(xs))


def _vectors(recording: Recording, key: str, vector: Tensor) -> Tensor:
    """The vector [D] with each entry replaced by those of other states [R · D, D]."""
    numbers = np.linspace(0, len(recording) - 1, REPLACEMENTS).astype(int)
    others = _parts(recording.observations(numbers))[key]  # [R, D]
    own = torch.eye(len(vector), dtype=torch.bool)
    return torch.where(own, others[:, None, :], vector).flatten(0, 1)


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
