"""Hogwild optimisers: one worker equals the plain formula, two workers lose nothing that lasts."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asyncrl.functional.moments import moments_of
from asyncrl.optim.hogwild import (
    OPTIMIZERS,
    CentredRMSProp,
    MomentumSGD,
    RMSProp,
    Rprop,
    SharedAdam,
    SharedRAdam,
    clip,
    gradients,
    make_optimizer,
    statistic_names,
)
from asyncrl.runtime.shared import Counter, Counts, SharedMoments, SharedVector
from asyncrl.settings import OptimizerSettings

CONTEXT = multiprocessing.get_context("forkserver")


def rmsprop(theta: Tensor, square_average: Tensor, epsilon: float) -> RMSProp:
    settings = OptimizerSettings(decay=0.99, epsilon=epsilon)
    return RMSProp(settings, theta, {"square_average": square_average}, updates=lambda: 0)


def test_rmsprop_equals_the_papers_formula() -> None:
    size = 40_000
    random = torch.Generator().manual_seed(0)
    theta, g = torch.randn(size, generator=random), torch.zeros(size)
    expected, statistic = theta.double().numpy(), np.zeros(size)
    optimizer = rmsprop(theta, g, epsilon=0.1)
    for _ in range(20):
        d = torch.randn(size, generator=random)
        optimizer.apply(d, learning_rate=0.01)
        d64 = d.double().numpy()
        statistic = 0.99 * statistic + 0.01 * d64**2
        expected = expected - 0.01 * d64 / np.sqrt(statistic + 0.1)  # ε inside the root
    np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(g.numpy(), statistic, rtol=1e-5)


def test_centred_rmsprop_equals_the_formula() -> None:
    random = torch.Generator().manual_seed(0)
    theta = torch.randn(1000, generator=random)
    statistics = {name: torch.zeros_like(theta) for name in CentredRMSProp.statistics}
    expected, g, n = theta.double().numpy(), np.zeros(1000), np.zeros(1000)
    optimizer = CentredRMSProp(OptimizerSettings(decay=0.95, epsilon=0.01), theta, statistics, updates=lambda: 0)
    for _ in range(20):
        d = torch.randn(1000, generator=random)
        optimizer.apply(d, learning_rate=0.01)
        d64 = d.double().numpy()
        g, n = 0.95 * g + 0.05 * d64, 0.95 * n + 0.05 * d64**2
        expected = expected - 0.01 * d64 / np.sqrt(n - g**2 + 0.01)  # ε inside the root
    np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("own", "torchs"), [(SharedAdam, torch.optim.Adam), (SharedRAdam, torch.optim.RAdam)])
def test_adam_and_rectified_adam_equal_torchs(own: type[SharedAdam], torchs: type[torch.optim.Optimizer]) -> None:
    random = torch.Generator().manual_seed(0)
    theta = torch.randn(40_000, generator=random)
    reference = nn.Parameter(theta.clone())
    of_torch = torchs([reference], lr=0.01, betas=(0.9, 0.99), eps=1e-5)  # type: ignore[call-arg]
    count = 0
    moments = {name: torch.zeros_like(theta) for name in own.statistics}
    optimizer = own(OptimizerSettings(decay=0.99, epsilon=1e-5), theta, moments, updates=lambda: count)
    for _ in range(20):
        d = torch.randn(theta.shape, generator=random)
        optimizer.apply(d, learning_rate=0.01)
        count += 1
        reference.grad = d
        of_torch.step()
    torch.testing.assert_close(theta, reference.detach(), rtol=1e-4, atol=1e-5)


def test_rprop_equals_torchs() -> None:
    random = torch.Generator().manual_seed(0)
    theta = torch.randn(1000, generator=random)
    theta[:10] = 0.0
    reference = nn.Parameter(theta.clone())
    torch_rprop = torch.optim.Rprop([reference], lr=0.01)
    statistics = {name: torch.zeros_like(theta) for name in Rprop.statistics}
    optimizer = Rprop(OptimizerSettings(), theta, statistics, updates=lambda: 0)
    for step in range(200):
        d = torch.randn(1000, generator=random) * torch.rand(1000, generator=random).round()  # some are zero
        d[:5], d[5:10] = -1.0, float(step % 2) - 0.5  # steps that reach the largest and the smallest size
        optimizer.apply(d, learning_rate=0.01)
        reference.grad = d.clone()
        torch_rprop.step()
    torch.testing.assert_close(theta, reference.detach())
    assert statistics["step_size"][:10].tolist() == pytest.approx([50.0] * 5 + [1e-6] * 5)


def test_momentum_sgd_equals_the_papers_formula() -> None:
    random = torch.Generator().manual_seed(0)
    theta, m = torch.randn(1000, generator=random), torch.zeros(1000)
    expected, momentum = theta.double().numpy(), np.zeros(1000)
    optimizer = MomentumSGD(OptimizerSettings(decay=0.9), theta, {"momentum": m}, updates=lambda: 0)
    for _ in range(20):
        d = torch.randn(1000, generator=random)
        optimizer.apply(d, learning_rate=0.1)
        momentum = 0.9 * momentum + 0.1 * d.double().numpy()
        expected = expected - 0.1 * momentum
    np.testing.assert_allclose(theta.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_statistics_are_shared_or_private_as_the_name_says(name: Any) -> None:
    settings = OptimizerSettings(optimizer=name)
    statistics = {key: torch.zeros(5) for key in statistic_names(name, workers=range(2))}
    theta = torch.zeros(5)
    one, two = (make_optimizer(settings, theta, statistics, worker, updates=lambda: 0) for worker in (0, 1))
    one.apply(torch.ones(5), 0.1)
    touched = {key for key, vector in statistics.items() if vector.any()}
    two.apply(torch.ones(5), 0.1)
    also = {key for key, vector in statistics.items() if vector.any()} - touched
    if OPTIMIZERS[name].private:
        assert {key.rpartition("/")[2] for key in touched} == {"0"}
        assert {key.rpartition("/")[2] for key in also} == {"1"}
    else:
        assert touched == set(statistics)
        assert not also
    assert (theta < 0).all()


def test_gradients_leave_nothing_behind() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    unused = nn.Linear(1, 1)
    both = nn.ModuleList([network, unused])
    gradient = gradients(network(torch.ones(1, 3)).sum(), both)
    assert gradient.shape == (3 * 2 + 2 + 2 + 1 + 2,)
    assert torch.equal(gradient[-2:], torch.zeros(2))  # no path from the loss
    assert all(parameter.grad is None for parameter in both.parameters())


def test_clip_scales_to_the_norm() -> None:
    clipped, norm = clip(torch.tensor([3.0, 4.0]), 1.0)
    assert norm == pytest.approx(5.0)
    torch.testing.assert_close(clipped, torch.tensor([0.6, 0.8]))
    untouched, _ = clip(torch.tensor([0.3, 0.4]), 1.0)
    torch.testing.assert_close(untouched, torch.tensor([0.3, 0.4]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_has_such_a_norm(bad: float) -> None:
    gradient, norm = clip(torch.tensor([1.0, bad]), 1.0)
    assert not math.isfinite(norm)
    assert gradient[0] == 1.0


def _apply_many(parameters: SharedVector, statistic: SharedVector, times: int, barrier: Any) -> None:
    torch.set_num_threads(1)
    optimizer = rmsprop(parameters.tensor, statistic.tensor, epsilon=1.0)
    gradient = torch.zeros_like(parameters.tensor)
    barrier.wait()
    for _ in range(times):
        optimizer.apply(gradient.fill_(0.0).add_(-1.0), learning_rate=1e-3)


@pytest.mark.timeout(300)
def test_two_processes_lose_no_whole_update_pattern() -> None:
    # every update moves every entry by +η/√(g+1), with g → 1; entries that two workers write in the same instant may
    # lose one addition, but the sum of all must come close to what the updates add up to, everywhere in the vector
    size, times = 50_000, 2_000
    parameters, statistic = SharedVector(size, CONTEXT), SharedVector(size, CONTEXT)
    barrier = CONTEXT.Barrier(2)
    workers = [CONTEXT.Process(target=_apply_many, args=(parameters, statistic, times, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    alone = torch.zeros(1)
    reference = rmsprop(alone, torch.zeros(1), epsilon=1.0)
    for _ in range(2 * times):
        reference.apply(torch.tensor([-1.0]), 1e-3)
    reached = parameters.tensor / alone
    assert 0.8 < float(reached.mean()) < 1.05
    assert float(reached.min()) > 0.5  # half would mean that one worker's updates were all lost
    assert torch.isfinite(statistic.tensor).all()


def _count(counter: Counter, worker: int) -> None:
    for _ in range(20_000):
        counter.advance(worker, steps=3, updates=1, episodes=1)


@pytest.mark.timeout(300)
def test_counter_loses_nothing() -> None:
    counter = Counter(2, CONTEXT)
    counter.resume(Counts(7, 5, 2))
    workers = [CONTEXT.Process(target=_count, args=(counter, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert counter.counts == (7 + 2 * 60_000, 5 + 2 * 20_000, 2 + 2 * 20_000)
    assert counter.reached(120_000)
    assert not counter.reached(120_008)
    counter.stop()
    assert counter.reached(10**9)


def test_shared_vector_is_shared(tmp_path: Any) -> None:
    vector = SharedVector(4, CONTEXT)
    write: Callable[[], Any] = lambda: CONTEXT.Process(target=_fill, args=(vector,))  # noqa: E731
    process = write()
    process.start()
    process.join(120)
    assert vector.tensor.tolist() == [1.0, 2.0, 3.0, 4.0]


def _fill(vector: SharedVector) -> None:
    vector.tensor.copy_(torch.arange(1.0, 5.0))


def _observe(shared: SharedMoments, worker: int, vectors: torch.Tensor) -> None:
    for part in vectors.split(10):
        shared.observe(worker, part)


@pytest.mark.timeout(300)
def test_moments_of_all_workers_and_of_earlier_sessions() -> None:
    vectors = torch.randn(600, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    shared = SharedMoments(2, 3, CONTEXT)
    assert shared.combined.deviation.tolist() == [1, 1, 1]
    seen = moments_of(vectors[:200])
    saved = torch.cat([seen.count.reshape(1), seen.mean, seen.squares])
    # of one worker that saw all, and of a session that saw nothing
    shared.resume(torch.stack([saved, torch.zeros_like(saved)]))
    parts = (vectors[200:450], vectors[450:])
    workers = [CONTEXT.Process(target=_observe, args=(shared, number, part)) for number, part in enumerate(parts)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    torch.testing.assert_close(shared.combined.mean, vectors.double().mean(0))
    torch.testing.assert_close(shared.combined.deviation, vectors.double().std(0, correction=0))
