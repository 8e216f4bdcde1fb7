"""The workers of a run, in either runtime: started, restored, restarted when they fail, and ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path

import torch
from torch import Tensor

from asyncrl.config import Experiment
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.checkpoint import Checkpoint
from asyncrl.runtime.disk_watch import Notify
from asyncrl.runtime.failure import Failure
from asyncrl.runtime.memory_keeper import AS_BEFORE, workers_with_copies
from asyncrl.runtime.processes import ProcessWorkers
from asyncrl.runtime.restarts import Restarts
from asyncrl.runtime.room import memory_bytes, saves_replay
from asyncrl.runtime.serial import SerialWorkers, memory_file
from asyncrl.runtime.store import SharedState
from asyncrl.runtime.worker import Restored, WorkerSetup
from asyncrl.runtime.workers import MakeWorkers, Workers
from asyncrl.tree import pack, unpack
from asyncrl.types import EnvironmentInfo, Report


class WorkerPool:
    """All workers of a run.

    Args:
        experiment: Settings of the run.
        info: The environment.
        shared: Memory that the workers share.
        folder: Folder of the run.
        session: Number of the session, counted from 1.
        context: Start method of processes.
        notify: Takes messages for people.
        make_workers: Makes workers that run elsewhere; None for those of this machine.
    """

    def __init__(
        self,
        experiment: Experiment,
        info: EnvironmentInfo,
        shared: SharedState,
        folder: RunFolder,
        session: int,
        context: BaseContext,
        notify: Notify,
        make_workers: MakeWorkers | None = None,
    ) -> None:
        self.experiment, self.info, self.shared, self.folder = experiment, info, shared, folder
        self.session, self.notify = session, notify
        self.replays = memory_bytes(experiment, info) > 0 and not experiment.cluster.actors
        self.restarts = Restarts(experiment, shared, notify, self.replays)
        self.workers: Workers
        if make_workers is not None:
            self.workers = make_workers(info, shared)
        elif experiment.runtime == "serial":
            self.workers = SerialWorkers()
        else:
            self.workers = ProcessWorkers(shared.counter, context, experiment.supervision.stall_timeout, notify)

    @contextmanager
    def working(self, checkpoint: Checkpoint | None) -> Iterator[None]:
        """Starts the workers, and makes sure that none is left at the end.

        Args:
            checkpoint: Serial workers go on exactly where they stopped, if it has as many of them.
        """
        numbers = range(self.experiment.worker_count)
        if self.replays:
            self._prepare_memories(checkpoint)
        try:
            if isinstance(self.workers, SerialWorkers):
                torch.set_num_threads(1)
                if checkpoint is not None and set(checkpoint.state.workers) == {str(number) for number in numbers}:
                    self._restore(self.workers, checkpoint)
                    numbers = range(0)
            for number in numbers:
                self.workers.start(self.setup(number))
            yield
        finally:
            self.workers.kill()
            self.folder.forget_empty_stacks()

    def _prepare_memories(self, checkpoint: Checkpoint | None) -> None:
        """Removes copies of memories that no worker can use; says why all memories of a resumed run begin empty."""
        workers, saves = self.experiment.worker_count, saves_replay(self.experiment, self.info)
        in_processes = isinstance(self.workers, ProcessWorkers)
        if in_processes:
            saved_by = workers_with_copies(self.folder)
            go_on = saves and saved_by == workers
        else:
            saved_by = 0 if checkpoint is None else len(checkpoint.state.workers)
            go_on = saved_by == workers
        if not (checkpoint is not None and in_processes and go_on):
            shutil.rmtree(self.folder.replay, ignore_errors=True)
        if checkpoint is not None and not go_on:
            reason = f"they were saved with {saved_by} workers" if saves and saved_by else "they were not saved"
            algorithm = self.experiment.algorithm
            again = "replay" if algorithm.learns_before_replay else "learn"
            when = " after --replay-start new steps" if hasattr(algorithm, "replay_start") else " from new steps"
            self.notify(f"replay memories begin empty, because {reason}: workers {again} again{when}")

    def setup(self, number: int, session: int | None = None) -> WorkerSetup:
        """Describes a worker's present attempt."""
        session = self.session if session is None else session
        attempt = self.restarts.attempts[number]
        return WorkerSetup(number, self.experiment, self.info, self.shared, self.folder.path, session, attempt)

    def poll(self, timeout: float) -> list[Report | Failure]:
        """Returns new messages, waiting at most `timeout` seconds for the first."""
        messages = self.workers.poll(timeout)
        for message in messages:
            if isinstance(message, Report):
                self.restarts.heard(message)
        return messages

    def stop(self) -> list[Report]:
        """Lets workers finish their rollout, kills those that take too long, and returns their last reports."""
        reports = self.workers.stop()
        if isinstance(self.workers, ProcessWorkers) and saves_replay(self.experiment, self.info):
            for number in self.workers.unfinished:
                self.notify(f"warning: worker {number} was ended before it saved its replay memory: {AS_BEFORE}")
        return reports

    def failed(self, failure: Failure) -> None:
        """Plans a restart of a worker that failed, if its budget allows.

        Raises:
            UserError: A restart would fail in the same way, and the user can fix the cause.
            RunError: A restart would fail in the same way.
        """
        self.restarts.failed(failure, self.running)

    def restart_due(self) -> int:
        """Restarts the workers whose delay is over, and returns their number."""
        due = self.restarts.pop_due()
        for number in due:
            self.workers.start(self.setup(number))
        return len(due)

    @property
    def running(self) -> int:
        """Number of workers that may still report."""
        return self.workers.running

    def snapshots(self) -> tuple[dict[str, tuple[int, int]], dict[str, Tensor]]:
        """Returns session and attempt of each serial worker, and its tensors for a checkpoint."""
        states, tensors = {}, {}
        if isinstance(self.workers, SerialWorkers):
            for number, (setup, snapshot) in self.workers.snapshots().items():
                states[str(number)] = setup.session, setup.attempt
                tensors.update(pack(f"workers/{number}", snapshot))
        return states, tensors

    @property
    def memories(self) -> dict[str, Callable[[Path], None]]:
        """What writes each serial worker's memory, by the name of its file in a checkpoint."""
        return self.workers.memories if isinstance(self.workers, SerialWorkers) else {}

    def _restore(self, workers: SerialWorkers, checkpoint: Checkpoint) -> None:
        problems = set()
        for number in range(self.experiment.worker_count):
            session, self.restarts.attempts[number] = checkpoint.state.workers[str(number)]
            workers.start(self.setup(number, session))
            snapshot, memory = (
                unpack(f"workers/{number}", checkpoint.tensors),
                checkpoint.paths.get(memory_file(number)),
            )
            restored = workers.restore(number, snapshot, memory)
            problems.add(restored)
            if self.replays and (memory is None or restored is Restored.WITH_NEW_EPISODES):
                problems.add(Restored.WITHOUT_MEMORY)
        for problem in problems - {Restored.COMPLETELY}:
            self.notify(f"warning: {problem.value}")
