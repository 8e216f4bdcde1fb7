"""A copy of a replay memory on disk is whole at any time, and a memory that is filled from it gives the same items."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asyncrl.algorithms.dqn import DQN
from asyncrl.errors import UserError
from asyncrl.memory import share_on_disk
from asyncrl.memory.saved_replay import SavedReplayMemory
from asyncrl.memory.share_on_disk import SHARE
from asyncrl.types import Rollout
from tests.memory.test_replay import B, items, memory, played

SMALL: dict[str, Any] = {"rollout_length": 4, "replay_capacity": 48 * B, "replay_start": 1, "batch_size": 4}
KINDS: dict[str, dict[str, Any]] = {
    "uniform": {"multi_step": 3},
    "proportional": {"prioritized": "proportional"},
    "rank": {"prioritized": "rank"},
    "sequences": {"burn_in": 2, "sequence_length": 4, "batch_size": 1, "prioritized": "proportional"},
}


@pytest.fixture(autouse=True)
def blocks_of_eight_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of `played` have 16 bytes for each environment."""
    monkeypatch.setattr(share_on_disk, "BLOCK_BYTES", 8 * B * 16)


def share(**settings: Any) -> SavedReplayMemory:
    made = memory(DQN(**{**SMALL, **settings}, save_replay=True))
    assert isinstance(made, SavedReplayMemory)
    return made


def loaded(folder: Path, **settings: Any) -> SavedReplayMemory:
    made = share(**settings)
    made.on_disk(folder).load(lambda: None)
    return made


def later(rollouts: Iterator[Rollout]) -> Iterator[Rollout]:
    """The rollouts of a run that was resumed: the first one begins with first observations."""
    one = next(rollouts)
    one.first[0] = True
    yield from itertools.chain([one], rollouts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 5, 9, 23, 24, 25])
def test_a_memory_that_was_loaded_gives_the_same_items(tmp_path: Path, kind: str, count: int) -> None:
    settings, recurrent = KINDS[kind], kind == "sequences"
    made = share(**settings)
    copy = made.on_disk(tmp_path / "copy")
    rollouts = played(40, 4, state=recurrent)
    for number, rollout in enumerate(itertools.islice(rollouts, count)):
        made.add(rollout)
        copy.grow()
        if made.selection.items and number % 3 == 0:
            for replayed in items(made, 2):
                made.learned(replayed, torch.rand(len(replayed.weights)))
        if number % 7 == 5:
            copy.save()
    copy.save()
    other = loaded(tmp_path / "copy", **settings)
    for each in (made, other):
        each.steps.valid[(4 * count - 1) % 48] = False  # the running episodes are cut off there
    following = list(later(played(6, 4, state=recurrent, seed=1)))
    for rollout in following:
        for each in (made, other):
            each.add(rollout)
        if made.selection.items:
            for one, same in zip(items(made, 3), items(other, 3), strict=True):
                for name in ("actions", "rewards", "discounts", "valid", "first"):
                    assert torch.equal(getattr(one.rollout, name), getattr(same.rollout, name)), name
                for key in ("vector", "bytes"):
                    assert torch.equal(one.rollout.observations[key], same.rollout.observations[key])
                assert torch.equal(one.weights, same.weights)
                assert all(map(torch.equal, one.rollout.state, same.rollout.state))
    assert (made.collected, made.steps.written) == (other.collected, other.steps.written)


def test_no_step_leads_from_an_episode_before_the_stop_to_one_after_it(tmp_path: Path) -> None:
    made = share(multi_step=3)
    for rollout in itertools.islice(played(40, 4), 5):
        made.add(rollout)
    copy = made.on_disk(tmp_path)
    copy.save()
    other = loaded(tmp_path, multi_step=3)
    for rollout in later(played(5, 4, seed=1)):
        rollout.observations["vector"] += 10_000
        other.add(rollout)
    for replayed in items(other, 60):
        before, after = replayed.rollout.observations["vector"][:, :, 0] >= 10_000
        assert torch.equal(before, after)
        last = replayed.rollout.observations["vector"][0, :, 0] // 100 == 19
        assert not last.any()  # the step that was taken last has no observation after it


def test_files_are_written_once_and_removed_when_they_are_not_needed(tmp_path: Path) -> None:
    made = share()
    copy = made.on_disk(tmp_path)
    written: dict[str, int] = {}
    for rollout in played(60, 4):
        made.add(rollout)
        copy.grow()
        for path in tmp_path.glob("rows-*"):
            assert written.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert len(written) == 30  # 60 rollouts of 4 rows, in blocks of 8
    copy.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [SHARE, *(f"rows-{begin}-{begin + 8}.npz" for begin in range(192, 240, 8))]
    )


@pytest.mark.parametrize("at", range(1, 9))
def test_what_was_saved_last_stays_whole_when_writing_fails_or_ends(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing fails from some file on, as on a full disk; a process that is killed stops there too."""
    made = share()
    copy = made.on_disk(tmp_path)
    rollouts = played(60, 4)
    for rollout in itertools.islice(rollouts, 17):
        made.add(rollout)
        copy.grow()
    copy.save()
    before = loaded(tmp_path)
    room = at

    def savez(file: Any, **arrays: Any) -> None:
        nonlocal room
        room -= 1
        if room <= 0:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        np_savez(file, **arrays)

    np_savez = np.savez
    monkeypatch.setattr(np, "savez", savez)
    failed = 0
    for rollout in itertools.islice(rollouts, 14):
        made.add(rollout)
        try:
            copy.grow()
        except OSError:
            failed += 1
    with pytest.raises(OSError, match="No space left"):
        copy.save()
    after = loaded(tmp_path)
    assert after.steps.written == before.steps.written == 68
    for name, kept in before.steps.arrays().items():
        assert np.array_equal(kept, after.steps.arrays()[name]), name
    monkeypatch.setattr(np, "savez", np_savez)
    copy.save()  # there is room again
    again = loaded(tmp_path)
    assert again.steps.written == 4 * 31
    made.steps.end_episodes()
    for name, kept in made.steps.arrays().items():
        assert np.array_equal(kept, again.steps.arrays()[name]), name


@given(data=st.data())
def test_damage_is_found(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("copy")
    made = share(prioritized="proportional")
    for rollout in itertools.islice(played(40, 4), 20):
        made.add(rollout)
    made.on_disk(folder).save()
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip", "missing"]))
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:place] + (b"" if kind == "cut" else bytes([whole[place] ^ 1]) + whole[place + 1 :]))
    other = share(prioritized="proportional")
    reason = ""
    try:
        other.on_disk(folder).load(lambda: None)
    except UserError as error:
        reason = str(error)
    if kind != "flip" or reason:
        assert (other.recurrent, other.steps.written, other.collected, other.selection.items) == (None, 0, 0, 0)
        assert reason.startswith("it was not saved" if (kind, path.name) == ("missing", SHARE) else "it is damaged")
    else:  # a byte that says nothing, such as a date
        made.steps.end_episodes()
        for name, kept in other.steps.arrays().items():
            assert np.array_equal(kept, made.steps.arrays()[name]), name


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"replay_capacity": 56 * B}, "--replay-capacity"),
        ({"multi_step": 2}, "--multi-step"),
        ({"prioritized": "rank"}, "--prioritized"),
        ({"rollout_length": 8}, "--rollout-length"),
    ],
)
def test_a_copy_of_other_settings_is_not_taken(tmp_path: Path, settings: dict[str, Any], option: str) -> None:
    made = share()
    for rollout in itertools.islice(played(40, 4), 9):
        made.add(rollout)
    made.on_disk(tmp_path).save()
    with pytest.raises(UserError, match=f"it was saved with another {option}"):
        loaded(tmp_path, **settings)
