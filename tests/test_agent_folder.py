"""A run folder that holds an agent alone: it acts as the agent of the run does, and cannot be trained further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asyncrl.agent import load
from asyncrl.agent_folder import MOST_LINES, spread, write_agent_folder
from asyncrl.cli import main
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.run_state import state_of
from asyncrl.runtime.checkpoint import load_newest

SETTINGS = (
    *("--runtime", "serial", "--workers", "1", "--envs-per-worker", "4", "--steps", "400", "--memory", "lstm"),
    *(
        "--normalize-observations",
        "--normalize-rewards",
        "--reward-scale",
        "1",
        "--eval-every",
        "200",
        "--eval-episodes",
        "2",
    ),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose checkpoints have everything that an agent can need, and much that it does not."""
    path = tmp_path_factory.mktemp("folder") / "run"
    assert main(["train", "CartPole-v1", *SETTINGS, "--run-dir", str(path), "--quiet"]) == 0
    return path


def test_its_agent_acts_and_judges_like_the_agent_of_the_run(
    run: Path, in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--format", "folder", "--output", "hub/cartpole"]) == 0
    assert capsys.readouterr().out.startswith("wrote hub/cartpole, ")
    whole, alone = load(run), load("hub/cartpole")
    assert whole.steps == alone.steps
    assert whole.return_deviation == alone.return_deviation != 1
    whole_state = alone_state = None
    for observation in np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32):
        mine, whole_state = whole.predict(observation, whole_state)
        theirs, alone_state = alone.predict(observation, alone_state)
        assert mine == theirs
    assert all(mine.equal(theirs) for mine, theirs in zip(whole_state, alone_state, strict=True))
    kept = set(load_newest(Path("hub/cartpole/checkpoints"))[0].tensors)
    assert kept == {"return_moments", *(f"parameters/{name}" for name in alone.network.state_dict())}
    assert kept < set(load_newest(run / "checkpoints")[0].tensors)


def test_the_best_checkpoint_can_be_chosen(run: Path, in_tmp: Path) -> None:
    write_agent_folder(run, Path("best"), "best")
    assert load("best").steps == load(run, checkpoint="best").steps


def test_what_reads_runs_reads_it(run: Path, in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_agent_folder(run, Path("alone"))
    assert state_of(RunFolder(Path("alone"))).kind == "done"
    assert main(["eval", "alone", "--episodes", "2", "--save"]) == 0
    assert main(["watch", "alone", "--video", "alone.gif", "--max-steps", "3"]) == 0
    assert main(["plot", "alone", "--output", "alone.png"]) == 0
    capsys.readouterr()
    main(["doctor", "alone"])
    assert "run: done at step" in capsys.readouterr().out


def test_it_cannot_be_trained_further_and_stays_whole(
    run: Path, in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_agent_folder(run, Path("alone"))
    before = {path: path.read_bytes() for path in Path("alone").rglob("*") if path.is_file()}
    for steps in ([], ["--steps", "4k"]):
        assert main(["train", "--resume", "--run-dir", "alone", "--quiet", *steps]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: the run folder holds an agent alone")
        assert error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in before}


def test_a_folder_that_is_in_use_is_not_replaced(run: Path, in_tmp: Path) -> None:
    with pytest.raises(UserError, match="exists: choose another --output"):
        write_agent_folder(run, run)
    with pytest.raises(UserError, match="no run folder"):
        write_agent_folder(Path("nothing"), Path("alone"))
    Path("file").touch()
    with pytest.raises(UserError, match="file exists"):
        write_agent_folder(run, Path("file"))


@pytest.mark.parametrize("count", [0, 1, MOST_LINES - 1, MOST_LINES, MOST_LINES + 1, 12_345])
def test_curves_keep_their_ends_and_their_spacing(count: int) -> None:
    kept = [line["steps"] for line in spread([{"steps": steps} for steps in range(count)], MOST_LINES)]
    assert len(kept) == min(count, MOST_LINES)
    assert kept == sorted(set(kept))
    assert kept[:1] == [0][:count]
    assert kept[-1:] == [count - 1][:count]
    if count > 1:
        assert np.ptp(np.diff(kept)) <= 1
