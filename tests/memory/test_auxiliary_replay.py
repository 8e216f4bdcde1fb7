"""The replay of auxiliary tasks gives what was acted, with the frequencies that the tasks ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gymnasium.spaces import Discrete

from asyncrl.errors import UserError
from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
from asyncrl.memory.base import Memory, SavedMemory
from asyncrl.memory.latest import LatestRollout
from asyncrl.memory.with_auxiliary_replay import (
    SavedWithAuxiliaryReplay,
    Supplemented,
    WithAuxiliaryReplay,
    with_auxiliary_replay,
)
from asyncrl.types import EnvironmentInfo, Progress, Rollout, WorkerInfo
from tests.memory.test_replay import VECTOR, B, played

T, KEPT = 4, 20
WORKER = WorkerInfo(EnvironmentInfo("x", VECTOR, Discrete(7), 1), B, 0, 1)


def replay(capacity: int = KEPT) -> AuxiliaryReplay:
    return AuxiliaryReplay(capacity, T, WORKER)


def whole(rollouts: list[Rollout]) -> dict[str, torch.Tensor]:
    names = ("rewards", "discounts", "valid", "first", "actions")
    return {name: torch.cat([getattr(each, name)[:T] for each in rollouts]) for name in names}


@pytest.mark.parametrize("recurrent", [False, True])
def test_sequences_are_as_they_were_acted_and_come_from_everywhere(recurrent: bool) -> None:
    made, random, seen = replay(), torch.Generator().manual_seed(0), set[tuple[int, int]]()
    rollouts = list(played(30, T, recurrent))
    acted = whole(rollouts)
    for count, rollout in enumerate(rollouts, 1):
        made.append(rollout)
        for _ in range(20):
            drawn = made.sequences(random)
            if drawn is None:
                assert count == 1
                continue
            for item in range(B):
                numbers = drawn.observations["vector"][:, item, 0].long()
                t, b = divmod(int(numbers[0]), 100)
                seen.add((t, b))
                assert numbers.tolist() == [100 * row + b for row in range(t, t + T + 1)]
                assert max(0, T * count - KEPT) <= t < T * count - T
                for name, rows in acted.items():
                    assert torch.equal(getattr(drawn, name)[:T, item], rows[t : t + T, b]), name
                if recurrent:
                    assert t % T == 0
                    assert float(drawn.state[0][item, 0]) == t
    assert len({t % T for t, _ in seen}) == (1 if recurrent else T)
    assert {b for _, b in seen} == set(range(B))


def sparse(count: int) -> Iterator[Rollout]:
    """Rollouts in which only the step with the number 2 modulo 10 has a reward, if it is a step at all."""
    for number, rollout in enumerate(played(count, T)):
        steps = torch.arange(number * T, (number + 1) * T)
        rewards = torch.where(steps % 10 == 2, 1.0, 0.0)[:, None].expand(T, B)
        yield dataclasses.replace(rollout, rewards=rewards * rollout.valid)


@pytest.mark.parametrize(("rewarded", "share"), [(0.5, 0.5), (1.0, 1.0), (0.0, 0.0)])
def test_as_many_steps_with_a_reward_as_asked_for(rewarded: float, share: float) -> None:
    made, random = replay(400), torch.Generator().manual_seed(0)
    for rollout in sparse(100):
        made.append(rollout)
    drawn = made.histories(random, 3, rewarded, count=4_000)
    assert drawn is not None
    assert float((drawn.rewards != 0).float().mean()) == pytest.approx(share, abs=0.03)
    numbers = drawn.observations["vector"][..., 0].long()
    assert len(set(numbers[-1].tolist())) > (30 if rewarded == 1 else 200)  # and of one kind all are alike


def test_a_history_belongs_to_one_episode_and_ends_in_the_step_of_its_reward() -> None:
    made, random = replay(400), torch.Generator().manual_seed(0)
    rollouts = list(played(100, T))
    for rollout in rollouts:
        made.append(rollout)
    acted = whole(rollouts)
    drawn = made.histories(random, 3, 0.5, count=500)
    assert drawn is not None
    numbers = drawn.observations["vector"][..., 0].long()  # [3, N]
    steps, environments = numbers // 100, numbers % 100
    assert torch.equal(steps[1:] - steps[:-1], torch.ones_like(steps[1:]))
    assert torch.equal(environments[0], environments[2])
    t, b = steps[-1], environments[-1]
    assert torch.equal(drawn.rewards, acted["rewards"][t, b])
    assert acted["valid"][t, b].all()
    assert not (acted["first"][t, b] | acted["first"][t - 1, b]).any()


def test_all_steps_are_drawn_while_those_of_one_kind_are_missing() -> None:
    made, random = replay(), torch.Generator().manual_seed(0)
    assert made.histories(random, 3, 0.5) is None
    (rollout,) = played(1, T)
    fresh = dataclasses.replace(
        rollout, rewards=torch.zeros(T, B), valid=torch.ones(T, B, dtype=torch.bool), first=rollout.first & False
    )
    made.append(fresh)
    drawn = made.histories(random, 3, 0.5, count=50)
    assert drawn is not None
    assert drawn.rewards.tolist() == [0.0] * 50


def test_too_small_a_replay_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="--auxiliary-steps 7 is too small for rollouts of 4 steps: give at least 8"):
        replay(7)
    replay(8)


class Starts:
    """Draws where sequences start."""

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> list[float] | None:
        drawn = replay.sequences(random)
        return None if drawn is None else drawn.observations["vector"][0, :, 0].tolist()


class Twice(LatestRollout):
    """Gives each rollout twice, and hears what was learned."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def draw(self, *arguments: object) -> Iterator[Rollout | None]:
        yield self.rollout
        yield self.rollout

    def learned(self, experience: object, feedback: object) -> None:
        self.heard.append((experience, feedback))


def drawn_from(made: WithAuxiliaryReplay, seed: int) -> list[Supplemented]:
    return list(made.draw(None, torch.Generator().manual_seed(seed), Progress(0, 1000)))  # type: ignore[arg-type]


def test_each_item_of_the_memory_comes_with_samples_of_its_own() -> None:
    own = Twice()
    made, (one, two) = with_auxiliary_replay(own, replay(), {"starts": Starts()}), played(2, T)
    made.add(one)
    assert [each.samples for each in drawn_from(made, 0)] == [{}, {}]  # no sequence is complete yet
    made.add(two)
    items = drawn_from(made, 1)
    assert [each.main for each in items] == [two, two]
    assert items[0].samples["starts"] != items[1].samples["starts"]
    made.learned(items[0], "feedback")
    assert own.heard == [(two, "feedback")]


def test_both_memories_are_saved(tmp_path: Path) -> None:
    def filled(rollouts: list[Rollout]) -> WithAuxiliaryReplay:
        made = with_auxiliary_replay(LatestRollout(), replay(), {"starts": Starts()})
        for rollout in rollouts:
            made.add(rollout)
        return made

    rollouts = list(played(9, T, state=True))
    made, again = filled(rollouts[:8]), filled([])
    assert isinstance(made, SavedWithAuxiliaryReplay)
    assert isinstance(again, SavedWithAuxiliaryReplay)
    made.save(tmp_path / "memory")
    again.load(tmp_path / "memory")
    for each in (made, again):
        each.add(rollouts[8])
    assert [each.samples for each in drawn_from(made, 3)] == [each.samples for each in drawn_from(again, 3)]
    filled([]).save(tmp_path / "empty")  # type: ignore[attr-defined]
    assert not (tmp_path / "empty").exists()


def test_a_memory_that_cannot_be_saved_stays_one() -> None:
    class Plain:
        add = draw = learned = None

    plain: Memory = Plain()  # type: ignore[assignment]
    assert not isinstance(with_auxiliary_replay(plain, replay(), {}), SavedMemory)
