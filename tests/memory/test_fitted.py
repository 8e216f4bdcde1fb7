"""The memory of fitted Q iteration gives every transition that was taken, and NFQ's loss is the paper's sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from asyncrl.algorithms.nfq import NFQ
from asyncrl.errors import UserError
from asyncrl.memory.fitted import Fit, FittedMemory
from asyncrl.networks.assemble import Network, Networks
from asyncrl.settings import NetworkSettings
from asyncrl.tree import tree_map
from asyncrl.types import EnvironmentInfo, Progress, WorkerInfo
from tests.memory.test_replay import VECTOR, B, played

ACTIONS = 7


def memory(algorithm: NFQ, workers: int = 1) -> FittedMemory:
    return algorithm.make_memory(WorkerInfo(EnvironmentInfo("x", VECTOR, Discrete(ACTIONS), 1), B, 0, workers))


def fits(made: FittedMemory) -> list[Fit]:
    return list(made.draw(None, torch.Generator(), Progress(0, 1000)))  # type: ignore[arg-type]


def networks(algorithm: NFQ) -> Networks:
    torch.manual_seed(0)
    return Networks(Network(VECTOR, NetworkSettings(hidden=(8,)), algorithm.heads(Discrete(ACTIONS))))


@pytest.mark.parametrize("capacity", [1000, 30])
def test_every_transition_is_there_with_both_observations(capacity: int) -> None:
    made, rollouts = memory(NFQ(replay_capacity=capacity, replay_start=1, epochs=1)), list(played(10, 4))
    taken: list[tuple[int, int, float, float]] = []  # row, environment, reward, discount
    for count, rollout in enumerate(rollouts):
        made.add(rollout)
        for t, b in zip(*torch.where(rollout.valid), strict=True):
            taken.append((4 * count + int(t), int(b), float(rollout.rewards[t, b]), float(rollout.discounts[t, b])))
        (fit,) = fits(made)
        numbers, following = fit.observations["vector"][:, 0].long(), fit.following["vector"][:, 0].long()
        found = zip(*np.divmod(numbers.numpy(), 100), fit.rewards.tolist(), fit.discounts.tolist(), strict=True)
        assert sorted(found) == sorted(taken[-capacity:])
        assert torch.equal(following, numbers + 100)  # the observation one row later, also at an episode's end
        assert torch.equal(fit.actions, numbers % 7)
        assert torch.equal(fit.observations["bytes"].long() @ torch.tensor([256, 1]), numbers)


def test_fits_begin_when_there_is_enough_and_have_their_epochs() -> None:
    made = memory(NFQ(replay_start=40, iterations=3, epochs=4), workers=2)  # its share of the start is 20 steps
    rollouts = list(played(4, 4))
    counts = []
    for rollout in rollouts:
        made.add(rollout)
        drawn = fits(made)
        counts.append(len(drawn))
        assert len({id(fit) for fit in drawn}) == len(drawn) // 4  # a fit is drawn once for each epoch
    enough = np.cumsum([rollout.steps for rollout in rollouts]) >= 20
    assert counts == [12 * bool(there) for there in enough]
    assert enough.any()
    assert not enough.all()


def test_a_saved_memory_goes_on_alike(tmp_path: Path) -> None:
    algorithm, rollouts = NFQ(replay_capacity=50, replay_start=1, epochs=1), list(played(12, 4))
    for saved_after in (3, 11):  # before and after the oldest transitions were overwritten
        made, other = memory(algorithm), memory(algorithm)
        for rollout in rollouts[:saved_after]:
            made.add(rollout)
        made.save(tmp_path / "memory")
        other.load(tmp_path / "memory")
        for each in (made, other):
            each.add(rollouts[saved_after])
        assert made.collected == other.collected
        assert all(torch.equal(column, other.columns[name]) for name, column in made.columns.items())


@pytest.mark.parametrize("hints", ["none", "terminal", "tests.memory.test_fitted:upright"])
@pytest.mark.parametrize("separate", [False, True])
def test_the_loss_equals_the_papers_sum(hints: str, separate: bool) -> None:
    value = 0.5 if ":" in hints else 0.0
    algorithm = NFQ(
        replay_start=1, epochs=2, iterations=2, separate_actions=separate, hint_to_goal=hints, goal_value=value
    )
    made, both = memory(algorithm), networks(algorithm)
    for rollout in played(6, 4):
        made.add(rollout)

    def q(observations: Any) -> torch.Tensor:
        first = torch.zeros(1, len(observations["vector"]), dtype=torch.bool)
        return both.online(tree_map(lambda rows: rows[None], observations), (), first)[0]["q"][0].detach()

    frozen = None
    for number, fit in enumerate(fits(made)):
        if number % 2 == 0:  # a new fit: its targets are those of the present Q, and stay for all of its epochs
            frozen = q(fit.following)
        assert frozen is not None
        values = q(fit.observations)
        errors = [
            (float(fit.rewards[i] + fit.discounts[i] * frozen[i].max()) - float(values[i, fit.actions[i]])) ** 2
            for i in range(len(fit.actions))
        ]
        if hints != "none":
            goal = fit.following if hints == "terminal" else upright()
            terminal = fit.discounts == 0 if hints == "terminal" else torch.ones(2, dtype=torch.bool)
            goal = tree_map(lambda rows, some=terminal: torch.as_tensor(rows)[some], goal)
            assert len(goal["vector"]) > 1
            errors += [(float(one) - value) ** 2 for one in q(goal).flatten()]
        loss = algorithm.loss(both, fit)
        assert float(loss.total.detach()) == pytest.approx(np.mean(errors), rel=1e-4)
        with torch.no_grad():
            for parameter in both.online.parameters():
                parameter.mul_(0.9)  # as an update would change them


def upright() -> dict[str, Any]:
    return {"vector": np.array([[0.1], [0.2]]), "bytes": [[1, 2], [3, 4]]}


def fails() -> None:
    raise KeyError("no")


def wrong_shape() -> dict[str, Any]:
    return {"vector": np.zeros((3, 2)), "bytes": np.zeros((3, 2))}


def wrong_keys() -> Any:
    return np.zeros((3, 4))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("fails", r"the function fails \(KeyError: 'no'\)"),
        ("wrong_shape", "should return 'vector' of shape N × 1, finite numbers"),
        ("wrong_keys", "should return a dictionary with the keys"),
        ("nothing", "cannot import the function of --hint-to-goal"),
    ],
)
def test_a_goal_that_does_not_fit_is_refused_before_the_run(function: str, words: str) -> None:
    algorithm = NFQ(hint_to_goal=f"tests.memory.test_fitted:{function}")
    with pytest.raises(UserError, match=words) as caught:
        algorithm.memory_bytes(WorkerInfo(EnvironmentInfo("x", VECTOR, Discrete(2), 1), B, 0, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "--epochs must be at least 1, not 0"),
        ({"iterations": 0}, "--iterations must be at least 1, not 0"),
        ({"replay_capacity": 10}, "--replay-start 100 never comes with --replay-capacity 10"),
        ({"hint_to_goal": "upright"}, "--hint-to-goal takes none, terminal or module:function, not 'upright'"),
        ({"hint_to_goal": "terminal", "goal_value": 1.0}, "--goal-value 1 needs --hint-to-goal module:function"),
        ({"hint_to_goal": "terminal", "discount": 0.0}, "needs a --discount above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        NFQ(**settings)


def test_the_room_that_it_takes_is_known_before_the_run() -> None:
    made = NFQ(replay_capacity=1000)
    worker = WorkerInfo(EnvironmentInfo("x", Box(-1, 1, (4,)), Discrete(2), 1), B, 0, 2)
    taken = sum(column.nbytes for column in made.make_memory(worker).columns.values())
    assert made.memory_bytes(worker) == taken == 500 * (2 * 4 * 4 + 16)
