"""Settings of a cluster that make no sense are one line, and so is a missing Ray."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from asyncrl.cli import main
from asyncrl.installing import install_command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "2"], "--nodes 2 needs --runtime ray; --nodes auto unsets it"),
        (["--runtime", "ray", "--nodes", "0"], "--nodes must be at least 1"),
        (["--runtime", "ray", "--address", "here"], "--address takes HOST:PORT"),
        (["--runtime", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["--runtime", "ray", "--change-weight", "2"], "--change-weight must be above 0 and at most 1"),
        (
            ["--runtime", "ray", "--exploration-bonus", "hash"],
            "--exploration-bonus is not available with --runtime ray",
        ),
        (["--runtime", "ray", "--algorithm", "dqn", "--save-replay"], "--save-replay is not available"),
        (["--actors", "2"], "--actors and --learners go together"),
        (["--actors", "2", "--learners", "1"], "--actors 2 needs --runtime ray; --actors 0 unsets it"),
        (["--runtime", "ray", "--actors", "2", "--learners", "1"], "add --algorithm dqn"),
        (["--runtime", "ray", "--replay-shards", "2"], "--replay-shards needs --actors and --learners"),
        (
            ["--runtime", "ray", "--algorithm", "dqn", "--actors", "2", "--learners", "1", "--workers", "2"],
            "--actors 2 and --learners 1 make 3 workers on each node, not 2: add --workers auto",
        ),
        (["--runtime", "ray", "--algorithm", "nfq", "--exchange", "gradients"], "does not go with rprop"),
    ],
)
def test_it_is_one_line(in_tmp: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    pytest.importorskip("ray")
    assert main(["train", "Catch", "--run-dir", "run", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not Path("run").exists()


def test_a_missing_ray_is_named_with_its_command(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "asyncrl.gorila.cluster", raising=False)
    assert main(["train", "Catch", "--runtime", "ray"]) == 2
    assert install_command("asyncrl[ray]") in capsys.readouterr().err
    assert not list(Path().glob("runs/*"))
