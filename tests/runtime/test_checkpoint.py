"""Checkpoints: round trip, damage, files beside the tensors, older formats, and which ones are kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st

from asyncrl.agent import load
from asyncrl.envs.make import describe
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import (
    STATE,
    TENSORS,
    Checkpoint,
    CheckpointState,
    checkpoint_folders,
    clean_up,
    load_checkpoint,
    load_chosen,
    load_newest,
    prune,
    save_checkpoint,
    set_aside_newer,
    step_of,
)
from asyncrl.runtime.disk_watch import DiskWatch
from asyncrl.runtime.saver import Saver
from asyncrl.runtime.shared import Counter, SharedVector
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.runtime.telemetry import TelemetryState
from asyncrl.settings import SupervisionSettings
from asyncrl.types import EnvironmentInfo
from tests.damage import JSON, damaged
from tests.experiments import small

REPOSITORY = Path(__file__).parents[2]


INFO = EnvironmentInfo("Catch-v0", Box(0, 1, (10, 5)), Discrete(3), 1)


def state(steps: int) -> CheckpointState:
    telemetry = TelemetryState(7, 0.1, [(1.0, 9.0), (-0.1, 3.0)], 12.5)
    return CheckpointState("Catch-v0", "a3c", "shared-adam", steps, 3, 1, telemetry, 2, 0.5, True, {"0": (1, 2)}, INFO)


def checkpoint_of(steps: int) -> Checkpoint:
    return Checkpoint({"parameters/w": torch.full((3,), float(steps))}, state(steps))


def save(folder: Path, steps: int, name: str | None = None) -> Path:
    return save_checkpoint(folder, checkpoint_of(steps), name)


def test_round_trip(tmp_path: Path) -> None:
    for steps in (5, 10, 200):
        save(tmp_path, steps)
    checkpoint, warnings = load_newest(tmp_path)
    assert checkpoint.tensors["parameters/w"].tolist() == [200.0] * 3
    assert checkpoint.state == state(200)
    assert warnings == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in checkpoint_folders(tmp_path)]


def test_the_newest_are_kept_and_one_for_each_interval(tmp_path: Path) -> None:
    for steps in (5, 90, 105, 150, 199, 230, 290, 310, 390):
        save(tmp_path, steps)
        prune(tmp_path, 2, 100)
    assert [step_of(path) for path in checkpoint_folders(tmp_path)] == [105, 230, 310, 390]
    prune(tmp_path, 1, None)
    assert [step_of(path) for path in checkpoint_folders(tmp_path)] == [390]


def test_last_best_or_a_step_can_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no best checkpoint yet: use --checkpoint last"):
        load_chosen(tmp_path, "best")
    save(tmp_path, 3)
    save(tmp_path, 3, "best")
    save(tmp_path, 1000)
    assert [load_chosen(tmp_path, which)[0].state.steps for which in ("last", "best", "3", "1000")] == [
        1000,
        3,
        3,
        1000,
    ]
    for wrong in ("4", "-3", "first", "3.0", "³", "../best"):
        with pytest.raises(UserError, match="choose best, last, or one of the steps 3, 1000"):
            load_chosen(tmp_path, wrong)
    save(tmp_path, 5, "best")
    assert load_chosen(tmp_path, "best")[0].state.steps == 5


@pytest.mark.parametrize("moment", ["staged", "replaced", "published"])
def test_leftovers_of_an_interrupted_save_are_cleaned_up(tmp_path: Path, moment: str) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2, "best")
    (tmp_path / ".staging-best").mkdir()
    (tmp_path / ".staging-best" / TENSORS).write_bytes(b"half of it")
    if moment == "replaced":  # the old one was moved away, and the new one not published
        (tmp_path / "best").rename(tmp_path / ".replaced-best")
    if moment == "published":  # the new one was published, and the old one not deleted
        save(tmp_path, 1, ".replaced-best")
    clean_up(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "step-000000000001"]
    assert load_chosen(tmp_path, "best")[0].state.steps == 2


@pytest.mark.timeout(1200)
def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    script = (
        "import itertools, pathlib, sys, torch\n"
        "from tests.runtime.test_checkpoint import state\n"
        "from asyncrl.runtime.checkpoint import Checkpoint, prune, save_checkpoint\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for steps in itertools.count(int(sys.argv[2])):\n"
        "    tensors = {'parameters/w': torch.full((300_000,), float(steps))}\n"
        "    for name in (None, 'best'):\n"
        "        save_checkpoint(folder, Checkpoint(tensors, state(steps)), name)\n"
        "        prune(folder, 2, None)\n"
    )
    random, steps = Random(0), 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(steps)], cwd=REPOSITORY)
        deadline = time.monotonic() + 250
        while not [path for path in checkpoint_folders(tmp_path) if step_of(path) > steps]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait()
        clean_up(tmp_path)
        newest, warnings = load_newest(tmp_path)
        best, _ = load_chosen(tmp_path, "best")
        assert warnings == []
        for checkpoint in (newest, best):
            assert (checkpoint.tensors["parameters/w"] == checkpoint.state.steps).all()
        assert newest.state.steps - 1 <= best.state.steps <= newest.state.steps
        assert not list(tmp_path.glob(".*"))
        steps = newest.state.steps


FIXTURES = {"format-2-catch": (200, 1.0), "format-2-cartpole": (20, 26.4), "format-3-cartpole": (20, 48.4)}
"""Episodes, and the mean return that each agent had when its checkpoint was written."""


@pytest.mark.parametrize("name", FIXTURES)
def test_checkpoints_of_older_formats_are_read(name: str, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tests" / "fixtures" / name, tmp_path / "run")
    agent, (episodes, return_mean) = load(tmp_path / "run"), FIXTURES[name]
    assert agent.evaluate(episodes, deterministic=True).return_mean == pytest.approx(return_mean, abs=1e-9)
    folder = RunFolder(tmp_path / "run")
    experiment = folder.read_experiment()
    checkpoint, warnings = load_newest(folder.checkpoints)
    assert warnings == []
    supervisor = Supervisor(experiment, agent.info, folder, checkpoint)
    assert supervisor.shared.counter.counts.episodes == checkpoint.state.telemetry.episodes > 0
    if "cartpole" in name:
        assert supervisor.shared.moments is not None
        assert agent.network.normalizer is not None
        torch.testing.assert_close(supervisor.shared.moments.combined.mean.float(), agent.network.normalizer.mean)


def test_a_serial_run_of_format_3_goes_on_where_it_stopped(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tests" / "fixtures" / "format-3-cartpole", tmp_path / "run")
    folder, notes = RunFolder(tmp_path / "run"), list[str]()
    experiment, (checkpoint, _) = folder.read_experiment(), load_newest(folder.checkpoints)
    assert set(checkpoint.state.workers) == {"0", "1"}
    supervisor = Supervisor(experiment, describe(experiment), folder, checkpoint, notes.append)
    assert supervisor.run([]).status == "done"
    assert notes == []  # the replayed environments reached the observations of the checkpoint
    written, _ = load_newest(folder.checkpoints)
    assert written.state.environment_info == describe(experiment)


class RefreshedWhileRead:
    """A target network that a worker refreshes as soon as somebody has read it."""

    def __init__(self, target: SharedVector, counter: Counter) -> None:
        self.target, self.counter = target, counter

    @property
    def tensor(self) -> torch.Tensor:
        read = self.target.tensor.clone()
        self.target.tensor.fill_(7.0)
        self.counter.refreshed_at = 500
        return read


def test_an_old_target_network_is_never_saved_with_a_new_refresh(tmp_path: Path) -> None:
    experiment = small(algorithm="nstep-q", target_interval=100)
    model = Supervisor(experiment, describe(experiment), RunFolder(tmp_path)).model
    assert model.shared.target is not None
    old = model.shared.target.tensor.clone()
    refreshed: Any = RefreshedWhileRead(model.shared.target, model.shared.counter)
    model.shared = replace(model.shared, target=refreshed)
    tensors, refreshed_at = model.checkpoint_tensors()
    assert torch.equal(tensors["target"], old)
    assert refreshed_at == 0


MEMORY = "memory-0.safetensors"


def written(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def save_with_memory(folder: Path, steps: int) -> Path:
    files = {MEMORY: written(b"memory" * steps), "memory-1.safetensors": lambda _: None}
    return save_checkpoint(folder, replace(checkpoint_of(steps), files=files))


def test_files_are_saved_beside_the_tensors(tmp_path: Path) -> None:
    place = save_with_memory(tmp_path, 5)
    checkpoint, warnings = load_newest(tmp_path)
    assert (checkpoint.paths, warnings) == ({MEMORY: place / MEMORY}, [])  # the second writer made no file
    assert checkpoint.paths[MEMORY].read_bytes() == b"memory" * 5
    assert sorted(path.name for path in place.iterdir()) == [MEMORY, STATE, TENSORS]


@pytest.mark.parametrize("damage", [b"", b"memory" * 4, b"Memory" * 5, None])
def test_a_file_that_was_damaged_makes_its_checkpoint_damaged(tmp_path: Path, damage: bytes | None) -> None:
    save_with_memory(tmp_path, 3)
    file = save_with_memory(tmp_path, 5) / MEMORY
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    checkpoint, [warning] = load_newest(tmp_path)
    assert checkpoint.state.steps == 3
    assert f"step-000000000005 is damaged (its {MEMORY} is missing or was changed)" in warning
    chosen, warnings = load_chosen(tmp_path, "last")  # acting does not need the file
    assert (chosen.state.steps, dict(chosen.paths), warnings) == (5, {}, [])


def test_a_file_that_cannot_be_written_leaves_the_earlier_checkpoints(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    save_with_memory(tmp_path, 3)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, replace(checkpoint_of(5), files={MEMORY: fail}))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000003"]
    assert load_newest(tmp_path)[0].paths


@pytest.mark.parametrize("name", [STATE, TENSORS, "../memory", "/memory", "..", "", ".hidden"])
def test_files_stay_in_the_folder_of_their_checkpoint(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a file"):
        save_checkpoint(tmp_path, replace(checkpoint_of(1), files={name: written(b"x")}))
    header = save(tmp_path, 2) / STATE
    data = json.loads(header.read_text())
    data["sha256"]["files"] = {name: "0"}
    header.write_text(json.dumps(data))
    with pytest.raises(UserError, match="is no name for a file"):
        load_checkpoint(header.parent)


def test_large_files_never_lie_in_memory_as_a_whole(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            for _ in range(64):
                file.write(bytes(2**20))

    tracemalloc.start()
    try:
        save_checkpoint(tmp_path, replace(checkpoint_of(1), files={MEMORY: write}))
        loaded, _ = load_newest(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert loaded.paths[MEMORY].stat().st_size == 2**26


def test_the_best_checkpoint_has_no_files(tmp_path: Path) -> None:
    settings = SupervisionSettings()
    saver = Saver(tmp_path, settings, DiskWatch(print), 0)
    assert saver.save(replace(checkpoint_of(5), files={MEMORY: written(b"memory")}))
    assert load_newest(tmp_path)[0].paths
    assert [path.name for path in sorted((tmp_path / "best").iterdir())] == [STATE, TENSORS]


@given(data=st.data())
def test_damaged_bytes_are_refused_or_change_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = save_with_memory(Path(name), 7)
        file = path / data.draw(st.sampled_from([STATE, TENSORS, MEMORY]))
        file.write_bytes(data.draw(damaged(file.read_bytes())))
        before = {entry: entry.read_bytes() for entry in path.iterdir()}
        refusal = ""
        try:
            loaded = load_checkpoint(path)
        except UserError as error:
            refusal = str(error)
        if refusal:
            assert str(path) in refusal
            assert "\n" not in refusal
        else:
            assert loaded.state == state(7)
            assert [path.read_bytes() for path in loaded.paths.values()] == [b"memory" * 7]
            assert torch.equal(loaded.tensors["parameters/w"], checkpoint_of(7).tensors["parameters/w"])
        assert {entry: entry.read_bytes() for entry in path.iterdir()} == before


@given(header=JSON)
def test_a_state_of_other_json_is_refused(header: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = save(Path(name), 7)
        (path / STATE).write_text(json.dumps(header))
        with pytest.raises(UserError, match="the checkpoint"):
            load_checkpoint(path)


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["half", "empty", "gone", "noise"])
def test_a_damaged_checkpoint_is_named_and_an_older_one_used(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, 1)
    broken = save(tmp_path, 2) / name
    data = broken.read_bytes()
    match damage:
        case "half":
            broken.write_bytes(data[: len(data) // 2])
        case "empty":
            broken.write_bytes(b"")
        case "noise":
            broken.write_bytes(bytes(len(data)))
        case _:
            broken.unlink()
    checkpoint, warnings = load_newest(tmp_path)
    assert checkpoint.state.steps == 1
    assert len(warnings) == 1
    assert "step-000000000002" in warnings[0]
    assert "damaged" in warnings[0]


def test_newer_damaged_checkpoints_are_set_aside_when_a_run_goes_on(tmp_path: Path) -> None:
    for steps in (1, 2, 30):
        save(tmp_path, steps)
    (tmp_path / "step-000000000030" / TENSORS).write_bytes(b"x")
    set_aside_newer(tmp_path, load_newest(tmp_path)[0].state.steps)
    save(tmp_path, 4)
    prune(tmp_path, 1, None)
    assert load_newest(tmp_path)[0].state.steps == 4
    assert (tmp_path / "damaged-step-000000000030").is_dir()


def test_without_an_undamaged_checkpoint_nothing_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint yet"):
        load_newest(tmp_path)
    (save(tmp_path, 1) / "tensors.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="damaged"):
        load_newest(tmp_path)


def test_an_older_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1) / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 1}))
    with pytest.raises(UserError, match="format 1, which this asyncrl no longer reads"):
        load_newest(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1) / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(UserError, match="format 99"):
        load_newest(tmp_path)
