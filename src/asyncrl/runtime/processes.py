"""Workers in processes of their own: started, watched and ended by the supervisor's process."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.context import BaseContext
from pathlib import Path

from asyncrl.runtime.child_process import ChildProcess
from asyncrl.runtime.disk_watch import Notify
from asyncrl.runtime.failure import Failure, Note
from asyncrl.runtime.shared import Counter
from asyncrl.runtime.worker import WorkerSetup
from asyncrl.runtime.worker_process import run_worker, stack_file
from asyncrl.types import Report

STOP_SECONDS = 4.0
"""How long workers may take to finish their rollout before they are killed."""
END_SECONDS = 0.5
"""How long a worker's process may take to end after its last message."""
DUMP_SECONDS = 1.0
"""How long a worker that hangs may take to write its stack."""
LONGEST_POLL = 5.0
"""Workers are not blamed for missing heartbeats if this many seconds lie between two polls."""


class ProcessWorkers:
    """The workers of a run, each in a process of its own.

    Args:
        counter: The run's shared counter.
        context: Start method of the processes.
        stall_timeout: Seconds without a heartbeat after which a worker is killed.
        notify: Takes messages for people.
    """

    def __init__(self, counter: Counter, context: BaseContext, stall_timeout: float, notify: Notify) -> None:
        self.counter, self.context, self.stall_timeout, self.notify = counter, context, stall_timeout, notify
        self.live: dict[int, ChildProcess] = {}
        self.stacks: dict[int, Path] = {}
        self.not_started: list[Failure] = []  # failures of workers whose process could not be started
        self.unfinished: list[int] = []  # workers that took too long to stop
        self.polled_at = time.monotonic()

    def start(self, setup: WorkerSetup) -> None:
        """Starts a worker, which may replace one that failed."""
        number = setup.number
        name, pulse = f"asyncrl-worker-{number}", self.counter.pulse(number)
        self.stacks[number] = stack_file(setup)
        try:
            self.live[number] = ChildProcess(self.context, run_worker, (setup,), name, pulse)
        except (OSError, EOFError) as error:  # no memory, no file descriptors, or no fork server
            self.not_started.append(Failure(number, f"could not be started ({error or type(error).__name__})"))

    def poll(self, timeout: float) -> list[Report | Failure]:
        """Returns new messages, waiting at most `timeout` seconds for the first. Failed workers are removed."""
        return self._messages(timeout) + self._stalled()

    def _messages(self, timeout: float) -> list[Report | Failure]:
        sources = [source for child in self.live.values() for source in child.sources]
        if not sources:
            time.sleep(timeout)
        ready = set(multiprocessing.connection.wait(sources, timeout)) if sources else set()
        messages: list[Report | Failure] = [*self.not_started]
        self.not_started.clear()
        for number, child in list(self.live.items()):
            if child.pipe in ready:
                messages += self._receive(number)
            elif child.process.sentinel in ready and not child.is_orphan():
                # it has ended without closing its pipe: a process that it started still holds the other end
                messages.append(self._remove_dead(number))
        return messages

    @property
    def running(self) -> int:
        """Number of workers that may still report."""
        return len(self.live) + len(self.not_started)

    @property
    def process_ids(self) -> dict[int, int]:
        """Process id of each live worker, by the worker's number."""
        return {number: child.process.pid for number, child in self.live.items()}

    def stop(self) -> list[Report]:
        """Lets workers finish their rollout, kills those that take too long, and returns their last reports."""
        self.counter.stop()
        reports, deadline = [], time.monotonic() + STOP_SECONDS
        while self.live and time.monotonic() < deadline:
            reports += [message for message in self._messages(0.1) if isinstance(message, Report)]
        self.unfinished = list(self.live)
        self.kill()
        return reports

    def kill(self) -> None:
        """Kills all workers that are left."""
        while self.live:
            self._end(next(iter(self.live)))

    def _receive(self, number: int) -> list[Report | Failure]:
        try:
            message = self.live[number].pipe.recv()
        except (EOFError, OSError):
            return [self._remove_dead(number)]
        if isinstance(message, Report):
            return [message]
        if isinstance(message, Note):
            self.notify(message.text)
            return []
        self._end(number, END_SECONDS)
        return [] if message is None else [message]

    def _remove_dead(self, number: int) -> Failure:
        reason = self.live[number].cause_of_death()
        self._end(number)
        return Failure(number, reason)

    def _end(self, number: int, grace: float = 0.0) -> None:
        self.live.pop(number).end(grace)
        self.stacks[number].unlink(missing_ok=True)

    def _stalled(self) -> list[Report | Failure]:
        now = time.monotonic()
        passed, self.polled_at = now - self.polled_at, now
        if passed > LONGEST_POLL:  # this process was suspended or starved, and the workers may have been too
            passed = 0.0
        hanging = [n for n, child in self.live.items() if child.seconds_without_heartbeat(passed) > self.stall_timeout]
        stacks = self._dump_stacks(hanging)
        failures: list[Report | Failure] = []
        for number in hanging:
            stack = f"its stack is in {stacks[number]}" if number in stacks else "its stack could not be had"
            who = f"(process {self.live[number].process.pid})"
            failures.append(Failure(number, f"{who} gave no sign of life for {self.stall_timeout:g} s; {stack}"))
            self._end(number)
        return failures

    def _dump_stacks(self, numbers: Sequence[int]) -> dict[int, Path]:
        """Makes workers write their stacks, and returns the files of those that did, named by the time."""
        found: dict[int, Path] = {}
        if not numbers or not hasattr(signal, "SIGUSR1"):
            return found
        for number in numbers:
            with suppress(OSError):
                os.kill(self.live[number].process.pid, signal.SIGUSR1)
        deadline = time.monotonic() + DUMP_SECONDS
        while len(found) < len(numbers) and time.monotonic() < deadline:
            time.sleep(0.1)  # also gives a worker that has begun to write the time to finish
            for number in set(numbers) - set(found):
                stack = self.stacks[number]
                with suppress(OSError):
                    if stack.stat().st_size:
                        kept = stack.with_name(f"{stack.stem}-{time.strftime('%Y%m%d-%H%M%S')}.txt")
                        found[number] = stack.replace(kept)
        return found
