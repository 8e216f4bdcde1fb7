"""The benchmark: measurements of real processes, and what is printed of them."""

from __future__ import annotations

import json

import pytest

from asyncrl.cli import main
from asyncrl.runtime.phases import PHASES


@pytest.mark.timeout(90)
def test_training_is_measured_beside_the_raw_environment(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["Catch", "--repeats", "1", "--seconds", "1.5", "--json", "--workers", "2", "--envs-per-worker", "8"]
    assert main(["bench", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["workers"], result["envs_per_worker"], result["frames_per_step"]) == (2, 8, 1)
    assert 0 < result["ratio"] < 1
    assert result["ratio"] == pytest.approx(
        result["training_steps_per_second"] / result["raw_steps_per_second"], rel=0.01
    )
    parts = result["cpu_microseconds_per_step"]
    assert set(parts) == set(PHASES)
    assert all(part > 0 for part in parts.values())
    # two workers cannot use more than two cores
    assert sum(parts.values()) * result["training_steps_per_second"] < 2.3e6
    assert 1 < result["private_megabytes_of_a_worker"] < result["total_megabytes"]


def test_a_wrong_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"Catchh": "unknown environment", "Catch --repeats 0": "at least 1", "Catch --runtime serial": "processes"}
    for arguments, message in ((text.split(), message) for text, message in wrong.items()):
        assert main(["bench", *arguments]) == 2
        assert message in capsys.readouterr().err
