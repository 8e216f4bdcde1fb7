"""Updates of the optimisers, each in one pass over its vectors. `asyncrl.optim.hogwild` has their formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from asyncrl.kernels.llvm import LANES, Compiled, Emitter, Value

Formula = Callable[[Emitter, Sequence[Value], Sequence[Value]], Sequence[Value]]
"""Computes the new θ and statistics from [gradient, θ, statistics...] and from the coefficients."""


def update(formula: Formula, gradient: Tensor, vectors: Sequence[Tensor], coefficients: Sequence[float]) -> int:
    """Applies a formula to the leading entries that fill whole vectors.

    Args:
        formula: The update to compute.
        gradient: [P].
        vectors: θ and its statistics, each [P], changed in place.
        coefficients: Coefficients of the formula.

    Returns:
        The number of entries that were updated; the caller updates the rest.
    """
    whole = len(gradient) // LANES
    compiled = _compile(formula, len(vectors), len(coefficients))
    compiled(gradient, *vectors, torch.tensor(coefficients, dtype=torch.float32), count=whole)
    return whole * LANES


def momentum_sgd(emit: Emitter, numbers: Sequence[Value], coefficients: Sequence[Value]) -> Sequence[Value]:
    """Momentum SGD; its coefficients are α, 1 - α, -η."""
    gradient, parameter, momentum = numbers
    decay, rest, rate = coefficients
    momentum = emit.multiply_add(rest, gradient, emit.product(decay, momentum))
    return emit.multiply_add(rate, momentum, parameter), momentum


def rmsprop(emit: Emitter, numbers: Sequence[Value], coefficients: Sequence[Value]) -> Sequence[Value]:
    """RMSProp; its coefficients are α, 1 - α, ε, -η."""
    gradient, parameter, square = numbers
    decay, rest, epsilon, rate = coefficients
    square = emit.multiply_add(emit.product(rest, gradient), gradient, emit.product(decay, square))
    step = emit.quotient(gradient, emit.root(emit.sum(square, epsilon)))
    return emit.multiply_add(rate, step, parameter), square


def centred_rmsprop(emit: Emitter, numbers: Sequence[Value], coefficients: Sequence[Value]) -> Sequence[Value]:
    """Centred RMSProp; its coefficients are α, 1 - α, -1, ε, -η."""
    gradient, parameter, average, square = numbers
    decay, rest, minus, epsilon, rate = coefficients
    average = emit.multiply_add(rest, gradient, emit.product(decay, average))
    square = emit.multiply_add(emit.product(rest, gradient), gradient, emit.product(decay, square))
    variance = emit.multiply_add(emit.product(minus, average), average, square)
    step = emit.quotient(gradient, emit.root(emit.sum(emit.positive_part(variance), epsilon)))
    return emit.multiply_add(rate, step, parameter), average, square


def adam(emit: Emitter, numbers: Sequence[Value], coefficients: Sequence[Value]) -> Sequence[Value]:
    """Adam; its coefficients are β1, 1 - β1, β2, 1 - β2, the scale of the root, ε, -η."""
    gradient, parameter, average, square = numbers
    momentum, momentum_rest, decay, rest, scale, epsilon, rate = coefficients
    average = emit.multiply_add(momentum_rest, gradient, emit.product(momentum, average))
    square = emit.multiply_add(emit.product(rest, gradient), gradient, emit.product(decay, square))
    step = emit.quotient(average, emit.multiply_add(emit.root(square), scale, epsilon))
    return emit.multiply_add(rate, step, parameter), average, square


@cache
def _compile(formula: Formula, vectors: int, coefficients: int) -> Compiled:
    emit = Emitter("update", ["float"] * (vectors + 2))
    *pointers, table = emit.pointers
    constants = [emit.broadcast(emit.at(table, number)) for number in range(coefficients)]

    def step(i: Value, _: Sequence[Value]) -> None:
        places = [emit.at(pointer, emit.times(i, LANES)) for pointer in pointers]
        results = formula(emit, [emit.load(place) for place in places], constants)
        for place, result in zip(places[1:], results, strict=True):
            emit.store(result, place)

    emit.loop(emit.count, step)
    return emit.compile()
