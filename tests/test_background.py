"""Convolutions of images with a background in common, against convolutions of whole images."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor

pytest.importorskip("llvmlite")

from asyncrl.kernels.background import Background, background_for
from asyncrl.kernels.convolution import Convolution, kernels_for
from asyncrl.kernels.convolution_code import Shape

STACKS = {
    "2013": (Shape(84, 84, 4, 8, 4, 16), Shape(20, 20, 16, 4, 2, 32)),
    "2015": (Shape(84, 84, 4, 8, 4, 32), Shape(20, 20, 32, 4, 2, 64), Shape(9, 9, 64, 3, 1, 64)),
    "borders left over": (Shape(23, 27, 4, 8, 4, 16), Shape(4, 5, 16, 2, 2, 32)),
}


def screens(shape: Shape, images: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A background [H, W, C] and images [N, H, W, C] of it with a few blots; the last is all noise, one is bare."""
    background = torch.randint(0, 256, (shape.height, shape.width, shape.channels), generator=random, dtype=torch.uint8)
    made = background.repeat(images, 1, 1, 1)
    for number, image in enumerate(made):
        for _ in range(number % 4):
            y, x = (int(torch.randint(0, side - 4, (), generator=random)) for side in image.shape[:2])
            image[y : y + 4, x : x + 3] = torch.randint(0, 256, (), generator=random).byte()
    made[-1] = torch.randint(0, 256, background.shape, generator=random, dtype=torch.uint8)
    return background, made


def shapes_and_kernels(name: str) -> tuple[Background, list[Convolution]]:
    convolutions = [kernels_for(shape, number == 0) for number, shape in enumerate(STACKS[name])]
    background = background_for(tuple(convolutions))
    assert background is not None
    return background, convolutions


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("images", [4, 70])
def test_results_are_those_of_whole_images(name: str, images: int) -> None:
    kernels, convolutions = shapes_and_kernels(name)
    random = torch.Generator().manual_seed(images)
    truth, inputs = screens(kernels.shapes[0], images, random)
    common = kernels.of(inputs)
    if images > 4:
        assert torch.equal(common[0], truth)  # most images show it everywhere
    flags = kernels.differences(inputs, common)
    shares = [float(flag.float().mean()) for flag in flags]
    assert 0 < shares[0] < 0.9
    assert all(one <= next_one for one, next_one in itertools.pairwise(shares))
    for convolution, sparing, flag in zip(convolutions, kernels.kernels, flags, strict=True):
        shape = convolution.shape
        weights = torch.randn(shape.kernel * shape.span, shape.outputs, generator=random) / shape.span
        bias = torch.randn(shape.outputs, generator=random)
        outputs, of_common = (convolution.forward(each, weights, bias) for each in (inputs, common))
        assert torch.equal(sparing.forward(inputs, flag, of_common, weights, bias), outputs)
        pull = torch.randn(outputs.shape, generator=random)
        found = sparing.weight_gradient(inputs, flag, common, pull)
        own = convolution.weight_gradient(inputs, pull)
        torch.testing.assert_close(found, own, rtol=1e-3, atol=1e-4 * float(own.abs().max()))
        inputs, common = outputs, of_common


def test_a_window_differs_where_one_of_its_bytes_does() -> None:
    kernels, _ = shapes_and_kernels("2013")
    background = torch.zeros(1, 84, 84, 4, dtype=torch.uint8)
    image = background.clone()
    image[0, 41, 16, 3] = 1  # row 41 lies in windows 9 and 10, column 16 in windows 3 and 4
    first, second = kernels.differences(image, background)
    assert first[0].nonzero().tolist() == [[9, 3], [9, 4], [10, 3], [10, 4]]
    assert second[0].nonzero().tolist() == [[y, x] for y in (3, 4, 5) for x in (0, 1, 2)]


def test_only_rows_that_fill_vectors_have_kernels() -> None:
    narrow, floats = Shape(84, 84, 1, 8, 4, 16), Shape(20, 20, 16, 4, 2, 32)
    assert background_for((kernels_for(narrow, True),)) is None
    assert background_for((kernels_for(floats, False),)) is None


def test_kernels_that_were_used_can_be_copied() -> None:
    kernels, _ = shapes_and_kernels("2013")
    images = torch.zeros(4, 84, 84, 4, dtype=torch.uint8)
    kernels.of(images)
    assert torch.equal(copy.deepcopy(kernels).of(images), images[:1])
