"""Runs on a cluster of several nodes, which fail in all the ways that nodes fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.runtime.processes import PYTHONPATH, log, metrics, summary, training, wait_for

pytest.importorskip("ray")

from ray.cluster_utils import Cluster

pytestmark = pytest.mark.timeout(300)

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, each a raylet with one core."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  Ray's default starves workers beside other tests
    started = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    started.add_node(**NODE)
    yield started
    started.shutdown()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(cluster: Any, tmp_path: Path) -> Iterator[Start]:
    """Starts `asyncrl train Catch` on the cluster, for ever if nothing else is said."""
    processes: list[subprocess.Popen[str]] = []

    def started(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "asyncrl", "train", "Catch", "--runtime", "ray", "--address", cluster.address]
        settings = ["--until-return", "None", "--run-dir", "run", "--checkpoint-seconds", "1"]
        with (tmp_path / "output.txt").open("a") as output:
            process = subprocess.Popen(
                [*command, *settings, *arguments],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": PYTHONPATH},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.wait()


RAYLETS: set[int] = {1}
"""Process ids of the cluster's raylets so far, whose children the actors are; 1 has those whose raylet is gone."""


def actors(cluster: Any, name: str) -> list[psutil.Process]:
    """Processes of the cluster that run an actor of that class. Other tests may have a cluster of their own."""
    RAYLETS.update(node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes())
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        ours = process.info["ppid"] in RAYLETS
        if ours and " ".join(process.info["cmdline"] or ()).startswith(f"ray::{name}"):
            found.append(process)
    return found


def worker_states(folder: Path) -> list[dict[str, Any]]:
    states: list[dict[str, Any]] = json.loads((folder / "workers.json").read_text())["workers"]
    return states


def test_a_run_outlives_everything_that_fails_around_it(cluster: Any, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("--workers", "1", "--nodes", "2", "--steps", "1G", "--keep-last", "2")

    def works(workers: int) -> bool:
        assert process.poll() is None, (tmp_path / "output.txt").read_text()
        return [state["state"] for state in worker_states(folder)].count("working") == workers

    def steps() -> int:
        return int(metrics(folder)[-1]["steps"])

    def goes_on() -> None:
        before = steps()
        wait_for(lambda: steps() > before + 5_000, 60, "more steps")

    training(process, folder)
    wait_for(lambda: works(2), 60, "work on both nodes")
    goes_on()

    worker = worker_states(folder)[1]["process"]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: f"(process {worker}) was killed by SIGKILL" in log(folder), 30, "the note of its death")
    wait_for(lambda: works(2), 60, "the restart of a worker")
    goes_on()

    wait_for(lambda: metrics(folder)[-1]["return_mean"] > 0.8, 90, "a good agent")
    [shard] = actors(cluster, "ShardActor")
    before = steps()
    shard.kill()
    wait_for(lambda: "shard 0 of the parameter server was started again" in log(folder), 60, "the shard's restart")
    assert steps() >= before
    goes_on()
    assert metrics(folder)[-1]["return_mean"] > 0.5  # what was learned is still there

    [_, other] = cluster.list_all_nodes()
    raylet = other.all_processes["raylet"][0].process
    raylet.send_signal(signal.SIGSTOP)  # as if its network paused
    time.sleep(3)
    raylet.send_signal(signal.SIGCONT)
    wait_for(lambda: works(2), 60, "work on both nodes after the pause")
    goes_on()
    assert "was lost" not in log(folder)

    cluster.remove_node(other, allow_graceful=False)
    wait_for(lambda: "worker 1 was lost with node 1" in log(folder), 90, "the note of the node's loss")
    goes_on()
    cluster.add_node(**NODE)
    wait_for(lambda: works(2), 60, "work on the new node")
    goes_on()

    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    wait_for(
        lambda: not actors(cluster, "Node") and not actors(cluster, "ShardActor"),
        30,
        "the end of all processes on the cluster",
    )
    ended = summary(folder)
    assert ended["status"] == "stopped"

    discarded = len(metrics(folder))
    resumed = start("--resume", "--workers", "1", "--nodes", "1", "--steps", "1G")
    wait_for(
        lambda: len(metrics(folder)) > discarded and steps() > ended["steps"] + 20_000, 60, "steps after the resume"
    )
    assert metrics(folder)[-1]["return_mean"] > 0.7
    pids = [state["process"] for state in worker_states(folder) if state["process"]]
    assert len(pids) == 1
    resumed.kill()  # nothing of a run outlives its supervisor
    everything = lambda: [*actors(cluster, "Node"), *actors(cluster, "ShardActor"), *filter(psutil.pid_exists, pids)]  # noqa: E731
    wait_for(lambda: not everything(), 60, "the end of everything on the cluster")


def test_actors_and_learners_outlive_a_learner_and_the_replay_memory(
    cluster: Any, start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    roles = ["--algorithm", "dqn", "--nodes", "1", "--actors", "1", "--learners", "1"]
    process = start(*roles, "--prioritized", "proportional", "--steps", "1G")
    training(process, folder)

    def learns() -> None:
        before = metrics(folder)[-1]
        wait_for(lambda: metrics(folder)[-1]["updates"] > before["updates"] + 300, 60, "more updates")
        assert metrics(folder)[-1]["steps"] > before["steps"]

    learns()
    actor, learner = (state["process"] for state in worker_states(folder))
    os.kill(learner, signal.SIGKILL)
    wait_for(lambda: f"(process {learner}) was killed by SIGKILL" in log(folder), 30, "the note of its death")
    learns()
    [shard] = actors(cluster, "ReplayProcess")
    shard.kill()
    wait_for(
        lambda: "shard 0 of the replay memory was started again, and begins empty" in log(folder), 60, "its restart"
    )
    learns()
    assert worker_states(folder)[0]["process"] == actor  # which found the new shard
    wait_for(lambda: metrics(folder)[-1]["return_mean"] > 0.5, 90, "a good agent")

    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 143
    everything = lambda: [*actors(cluster, "Node"), *actors(cluster, "ShardActor"), *actors(cluster, "ReplayProcess")]  # noqa: E731
    wait_for(lambda: not everything(), 30, "the end of all processes on the cluster")
