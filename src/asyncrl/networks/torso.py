"""Torsos: from a batch of observations [N, ...] to features [N, F]."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Space
from torch import Tensor, nn

from asyncrl.errors import UserError
from asyncrl.importing import import_object
from asyncrl.networks.convolution import Layers, compiled_layers, convolve
from asyncrl.networks.images import channels_last, image_shape, is_image
from asyncrl.settings import NetworkSettings
from asyncrl.types import LAST_ACTION, LAST_REWARD

CONVOLUTIONS: dict[str, tuple[tuple[tuple[int, int, int], ...], int]] = {
    # name: ((channels, kernel, stride) of each layer, units of the fully-connected layer)
    "atari-2013": (((16, 8, 4), (32, 4, 2)), 256),  # Mnih et al. 2013; Mnih et al. 2016, Supplement 8
    "atari-2015": (((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512),  # Mnih et al. 2015
    "minatar": (((16, 3, 1),), 128),  # Young & Tian 2019
}

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

UNCHANGED = (LAST_ACTION, LAST_REWARD)
"""Keys that pass the torso unchanged."""


class VectorTorso(nn.Module):
    """Fully-connected layers on the flattened observation. Bytes are scaled to [0, 1] unless they are normalised.

    With `layer_norm` each layer is normalised before its activation function (Ba et al. 2016).
    """

    def __init__(
        self,
        space: Box,
        hidden: Sequence[int],
        activation: str = "relu",
        normalized: bool = False,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.divisor = 255 if space.dtype == np.uint8 and not normalized else 1
        sizes = [math.prod(space.shape), *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers.append(nn.Linear(inputs, outputs))
            if layer_norm:
                layers.append(nn.LayerNorm(outputs))
            layers.append(ACTIVATIONS[activation]())
        self.layers = nn.Sequential(*layers)
        self.output_size = sizes[-1]

    def forward(self, observations: Tensor) -> Tensor:
        """Maps observations [N, ...] to features [N, F]."""
        vectors = observations.flatten(1).to(torch.float32)
        if self.divisor != 1:
            vectors = vectors / self.divisor
        features: Tensor = self.layers(vectors)
        return features


class ImageTorso(nn.Module):
    """Convolutions and one fully-connected layer, each followed by ReLU. Bytes are scaled to [0, 1].

    With `layer_norm` each layer is normalised before its ReLU, convolutions over the channels of each place. Compiled
    kernels then compute single convolutions, and nothing that they gave while acting is kept for learning.
    """

    def __init__(
        self, space: Box, convolutions: Sequence[tuple[int, int, int]], units: int, layer_norm: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.channels_last = space.shape, channels_last(space)
        height, width, channels = image_shape(space)
        bytes_ = space.dtype.name == "uint8"
        self.dtype, self.scale = (torch.uint8, 1 / 255) if bytes_ else (torch.float32, 1.0)
        layers: list[nn.Conv2d] = []
        for outputs, kernel, stride in convolutions:
            layers.append(nn.Conv2d(channels, outputs, kernel, stride))
            channels = outputs
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
            if min(height, width) < 1:
                raise UserError(
                    f"images of shape {space.shape} are too small for this torso: try --torso minatar or mlp"
                )
        self.convolutions = nn.ModuleList(layers)
        self.dense = nn.Linear(height * width * channels, units)
        self.output_size = units
        widths = [*(layer.out_channels for layer in layers), units] if layer_norm else []
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        compiled = compiled_layers(image_shape(space), bytes_, layers, self.dense, self.scale)
        self.compiled = None if layer_norm else compiled
        self.kernels = compiled.kernels if layer_norm and compiled is not None else ()

    @property
    def depth(self) -> int:
        """Number of layers that `activations` computes."""
        return len(self.convolutions) + 1 if self.compiled is not None else 0

    def activations(self, observations: Tensor) -> Layers:
        """Computes all layers' outputs for images [N, C, H, W] or [N, H, W, C]; empty without compiled kernels."""
        return self.compiled.activations(self._images(observations)) if self.compiled is not None else ()

    def forward(self, observations: Tensor, known: Sequence[Layers] = ()) -> Tensor:
        """Maps images [N, C, H, W] or [N, H, W, C] to features [N, F].

        Channels are the innermost axis in memory in all layers. Scaling is applied to the first layer's weights, not to
        the images.

        Args:
            observations: The images.
            known: Activations of the first images, computed with the present parameters, in parts.
        """
        images = self._images(observations)
        if self.compiled is not None and not images.requires_grad:  # compiled layers have no gradient by images
            return self.compiled.features(images, known)
        features = images
        kernels = () if images.requires_grad else self.kernels
        pairs = itertools.zip_longest(cast(Iterable[nn.Conv2d], self.convolutions), kernels)
        for number, (layer, kernel) in enumerate(pairs):
            weight = layer.weight * self.scale if number == 0 else layer.weight
            assert layer.bias is not None
            features = self._activated(convolve(features, weight, layer.bias, layer.stride[0], kernel), number)
        return self._activated(self.dense(features.flatten(1)), len(self.convolutions))

    def _activated(self, outputs: Tensor, layer: int) -> Tensor:
        """ReLU of what a layer gives [..., O], normalised before where the torso normalises its layers."""
        return torch.relu_(self.norms[layer](outputs) if len(self.norms) else outputs)

    def _images(self, observations: Tensor) -> Tensor:
        """The observations with channels innermost, as bytes or floats.

        Raises:
            ValueError: They are images of another shape, which the compiled kernels would read beyond their end.
        """
        if observations.shape[1:] != self.shape:
            raise ValueError(f"this torso takes images of shape {self.shape}, not {tuple(observations.shape[1:])}")
        images = observations if self.channels_last else observations.permute(0, 2, 3, 1)
        if images.requires_grad:  # the gradient by the image is wanted, and bytes have none
            return images
        return images.to(self.dtype).contiguous()


class DictTorso(nn.Module):
    """A torso for each key, then one fully-connected layer with ReLU that combines their features.

    Without that layer, linear heads could only add what each key says by itself. The layer is as wide as the widest
    torso, and a single key needs none. The last action and the last reward go to the core unchanged, beside the
    combined features, as in the agents of UNREAL (Jaderberg et al. 2017).
    """

    def __init__(self, space: Dict, settings: NetworkSettings) -> None:
        super().__init__()
        self.keys = tuple(space.spaces)
        self.torsos = nn.ModuleList(_torso_of_key(key, part, settings) for key, part in space.spaces.items())
        sizes = {key: int(torso.output_size) for key, torso in self.torsos_by_key()}  # type: ignore[arg-type]
        self.unchanged = sum(sizes.pop(key, 0) for key in UNCHANGED)  # the first features, for the core alone
        self.combining = nn.Linear(sum(sizes.values()), max(sizes.values())) if len(sizes) > 1 else None
        self.norm = nn.LayerNorm(max(sizes.values())) if settings.layer_norm and self.combining is not None else None
        self.output_size = self.unchanged + max(sizes.values())

    def torsos_by_key(self) -> Iterator[tuple[str, nn.Module]]:
        """Each key with its torso."""
        yield from zip(self.keys, self.torsos, strict=True)

    def activations(self, observations: Mapping[str, Tensor]) -> Layers:
        """Computes the layers of all compiled torsos, one torso after another; see `ImageTorso.activations`."""
        images = [(key, torso) for key, torso in self.torsos_by_key() if isinstance(torso, ImageTorso)]
        return tuple(layer for key, torso in images for layer in torso.activations(observations[key]))

    def forward(self, observations: Mapping[str, Tensor], known: Sequence[Layers] = ()) -> Tensor:
        """Maps observations by key, each [N, ...], to features [N, F].

        Args:
            observations: The observations.
            known: Activations of the first observations, computed with the present parameters, in parts.
        """
        unchanged: list[Tensor] = []
        features: list[Tensor] = []
        used = 0
        for key, torso in self.torsos_by_key():
            given: tuple[Any, ...] = ()
            if isinstance(torso, ImageTorso):
                given, used = ([part[used : used + torso.depth] for part in known],), used + torso.depth
            (unchanged if key in UNCHANGED else features).append(torso(observations[key], *given))
        combined = torch.cat(features, -1)
        if self.combining is not None:
            combined = self.combining(combined)
            combined = torch.relu(combined if self.norm is None else self.norm(combined))
        return torch.cat([*unchanged, combined], -1)


def _torso_of_key(key: str, space: Space[Any], settings: NetworkSettings) -> nn.Module:
    assert isinstance(space, Box)
    if key in UNCHANGED:
        return VectorTorso(space, ())
    if settings.torso in CONVOLUTIONS and not is_image(space):
        settings = dataclasses.replace(settings, torso="auto")
    return make_torso(space, settings)


def make_torso(space: Space[Any], settings: NetworkSettings) -> nn.Module:
    """Makes the torso that the settings name; `auto` chooses one by the shape of the observations.

    A Dict space gets one torso for each key, and a layer that combines them. There, a torso for images is used for the
    keys that are images only.

    A torso of your own is named by its import path, `module:factory`. The factory is called with the observation space
    and returns a module with an attribute `output_size`.

    Raises:
        UserError: The name is unknown or does not fit the observations.
    """
    name = settings.torso
    if isinstance(space, Dict) and (":" not in name or LAST_ACTION in space.spaces):
        return DictTorso(space, settings)
    if ":" in name:
        torso: nn.Module = import_object(name, "torso")(space)
        if not hasattr(torso, "output_size"):
            raise UserError(f"the torso {name!r} has no attribute output_size: set it to its number of features")
        return torso
    if not isinstance(space, Box):
        raise UserError(f"observations of kind {space} do not fit any torso")
    if name == "auto":
        name = "mlp" if not is_image(space) else "minatar" if min(image_shape(space)[:2]) < 36 else "atari-2013"
    if name == "mlp":
        normalized = settings.normalize_observations and not is_image(space)
        return VectorTorso(space, settings.hidden, settings.activation, normalized, settings.layer_norm)
    if name not in CONVOLUTIONS:
        known = ", ".join(["auto", "mlp", *CONVOLUTIONS])
        raise UserError(f"unknown torso {name!r}: choose one of {known}, or give an import path module:factory")
    if not is_image(space):
        raise UserError(f"the torso {name!r} needs images, but observations have shape {space.shape}: try --torso mlp")
    return ImageTorso(space, *CONVOLUTIONS[name], settings.layer_norm)
