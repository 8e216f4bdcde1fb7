"""PQN's targets and minibatches, for feed-forward and recurrent networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asyncrl.errors import UserError
from asyncrl.memory.shuffled import Minibatch
from asyncrl.networks.assemble import Networks
from asyncrl.types import Progress, Rollout, WorkerInfo
from tests.contracts.test_algorithms import INFO, B, T, rollout, setup

ENDS = ((1, 0), (4, 0), (3, 1))
"""Dummy steps; the episodes before the first two were truncated, the third one's terminated."""


def made(memory: str = "none", **settings: Any) -> tuple[Any, Networks, Rollout]:
    algorithm, networks = setup("pqn", "discrete", memory, {"epochs": 1, "minibatches": 1, **settings})
    data = rollout(networks, dummies=ENDS)
    data.discounts[2, 1] = 0.0
    return algorithm, networks, data


def drawn(algorithm: Any, networks: Networks, data: Rollout) -> list[Minibatch]:
    memory = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1))
    memory.add(data)
    return list(memory.draw(networks, torch.Generator().manual_seed(0), Progress(0, 1000)))


def literal_target(data: Rollout, best: Tensor, t: int, b: int, decay: float) -> float:
    """(1 - λ) Σ_{n<N} λ^(n-1) G^(n) + λ^(N-1) G^(N), G^(n) the return of n steps, N the steps to the end."""
    returns: list[float] = []  # G^(1), G^(2), ...
    total, factor = 0.0, 1.0
    for k in range(t, T):
        if not data.valid[k, b]:  # the episode was truncated: its last observation is that of the dummy step
            break
        total += factor * float(data.rewards[k, b])
        factor *= float(data.discounts[k, b])
        returns.append(total + factor * float(best[k + 1, b]))
        if factor == 0:
            break
    weights = [(1 - decay) * decay ** (n - 1) for n in range(1, len(returns))] + [decay ** (len(returns) - 1)]
    return sum(weight * each for weight, each in zip(weights, returns, strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.65, 1.0])
@pytest.mark.parametrize("memory", ["none", "lstm"])
def test_targets_are_lambda_returns_of_the_best_actions_values(memory: str, decay: float) -> None:
    algorithm, networks, data = made(memory, q_lambda=decay)
    with torch.no_grad():
        best = networks.online(data.observations, data.state, data.first)[0]["q"].amax(-1)  # [T+1, B]
    (batch,) = drawn(algorithm, networks, data)
    expected = [literal_target(data, best, t, b, decay) for t in range(T) for b in range(B) if data.valid[t, b]]
    assert sorted(batch.constants["targets"][batch.valid].tolist()) == pytest.approx(sorted(expected), abs=1e-5)


@pytest.mark.parametrize(("memory", "steps"), [("none", T * B - len(ENDS)), ("lstm", T * B)])
def test_the_loss_is_half_the_mean_squared_error(memory: str, steps: int) -> None:
    algorithm, networks, data = made(memory)
    (batch,) = drawn(algorithm, networks, data)
    with torch.no_grad():
        values = networks.online(batch.observations, batch.state, batch.first)[0]["q"]
        errors = (values.gather(-1, batch.actions[..., None]).squeeze(-1) - batch.constants["targets"]).square()
        loss = algorithm.loss(networks, batch).total
    assert float(loss) == pytest.approx(float(errors[batch.valid].sum()) / 2 / steps, rel=1e-4)


def observed(batches: list[Minibatch]) -> Tensor:
    """The observations [N, 5] of all valid steps of some minibatches, in the order of their first number."""
    rows = torch.cat([batch.observations[batch.valid] for batch in batches])
    return rows[rows[:, 0].argsort()]


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_each_epoch_has_every_step_once_and_no_dummy_step(memory: str) -> None:
    parts = 2 if memory == "gru" else 4
    algorithm, networks, data = made(memory, epochs=3, minibatches=parts)
    batches = drawn(algorithm, networks, data)
    assert len(batches) == 3 * parts
    real = data.observations[:-1][data.valid]
    epochs = [batches[parts * number : parts * (number + 1)] for number in range(3)]
    for epoch in epochs:
        assert torch.equal(observed(epoch), real[real[:, 0].argsort()])
        sizes = [batch.actions.shape[1] for batch in epoch]
        assert max(sizes) - min(sizes) <= 1
    orders = [torch.cat([batch.actions for batch in epoch], 1) for epoch in epochs]
    assert not torch.equal(orders[0], orders[1]) or not torch.equal(orders[1], orders[2])


def test_sequences_stay_whole_and_keep_their_recurrent_state() -> None:
    algorithm, networks, data = made("lstm", minibatches=8)
    data = Rollout(**{**_fields(data), "state": tuple(torch.randn_like(part) for part in data.state)})
    whole = networks.online.unroll(data, final=False)["q"]  # [T, B, A]
    batches = drawn(algorithm, networks, data)
    assert len(batches) == B  # no more minibatches than environments
    for batch in batches:
        (b,) = (number for number in range(B) if torch.equal(batch.actions[:, 0], data.actions[:, number]))
        values = networks.online(batch.observations, batch.state, batch.first)[0]["q"]
        torch.testing.assert_close(values[:, 0], whole[:, b])


def _fields(data: Rollout) -> dict[str, Any]:
    return {name: getattr(data, name) for name in Rollout.__dataclass_fields__}


def test_targets_stay_those_of_the_parameters_that_acted() -> None:
    algorithm, networks, data = made(epochs=2)
    memory = algorithm.make_memory(WorkerInfo(INFO, B, 0, 1))
    memory.add(data)
    batches = memory.draw(networks, torch.Generator(), Progress(0, 1000))
    one = next(batches).constants["targets"].sort().values
    with torch.no_grad():
        for parameter in networks.online.parameters():
            parameter.add_(1.0)
    assert torch.equal(next(batches).constants["targets"].sort().values, one)


def test_a_rollout_of_dummy_steps_is_not_learned() -> None:
    algorithm, networks, data = made(epochs=2, minibatches=3)
    data.valid[:] = False
    assert drawn(algorithm, networks, data) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q_lambda": 1.5}, r"--q-lambda must lie in \[0, 1\], not 1.5"),
        ({"epochs": 0}, "--epochs and --minibatches must be at least 1"),
        ({"minibatches": 0}, "--epochs and --minibatches must be at least 1"),
        ({"target_interval": 100}, "pqn has no setting 'target_interval'"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(**settings)


def test_it_has_no_target_network() -> None:
    algorithm, networks, _ = made()
    assert algorithm.target_update is None
    assert networks.target is None
