"""The room that replay memories need, in the machine's memory and on disk."""

from __future__ import annotations

from asyncrl.config import Experiment
from asyncrl.machine import check_disk, check_memory
from asyncrl.run_folder import RunFolder
from asyncrl.types import EnvironmentInfo, WorkerInfo


def memory_bytes(experiment: Experiment, info: EnvironmentInfo) -> int:
    """Bytes that the memories of all workers take when they are full; 0 without replay.

    Raises:
        UserError: The settings of the memories make no sense for so many environments.
    """
    workers, recurrent = experiment.acting_workers, experiment.network.memory != "none"
    worker = WorkerInfo(info, experiment.environment_count, 0, workers, recurrent)
    return experiment.algorithm.memory_bytes(worker) * workers


def saves_replay(experiment: Experiment, info: EnvironmentInfo) -> bool:
    """Whether a run has replay memories and saves them."""
    return bool(getattr(experiment.algorithm, "save_replay", False)) and memory_bytes(experiment, info) > 0


def check_room(experiment: Experiment, info: EnvironmentInfo, folder: RunFolder) -> None:
    """Makes sure that the workers' memories fit into this machine's, and on disk if they are saved.

    Raises:
        UserError: They do not fit.
    """
    check_room_of_replay(experiment, info)
    needed, remedy = memory_bytes(experiment, info), _remedy(experiment)
    if saves_replay(experiment, info):
        copies = 1 if experiment.runtime != "serial" else experiment.supervision.keep_last + 1
        check_disk(folder.path, copies * needed, f"{remedy}, or leave out --save-replay")


def check_room_of_node(experiment: Experiment, info: EnvironmentInfo) -> None:
    """Makes sure that the memories of one node's workers fit into this machine's.

    Raises:
        UserError: They do not fit.
    """
    check_memory(memory_bytes(experiment, info) // experiment.node_count, _remedy(experiment))


def check_room_of_replay(experiment: Experiment, info: EnvironmentInfo) -> None:
    """Makes sure that the memories of all workers fit into this machine's.

    Raises:
        UserError: They do not fit.
    """
    check_memory(memory_bytes(experiment, info), _remedy(experiment))


def _remedy(experiment: Experiment) -> str:
    sizes = [name for name in ("replay_capacity", "auxiliary_steps") if hasattr(experiment.algorithm, name)]
    return f"use a smaller {' or '.join('--' + name.replace('_', '-') for name in sizes)}"
