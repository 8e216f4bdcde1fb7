"""How actors and learners reach the shards of the replay memory: messages and answers over TCP."""

from __future__ import annotations

import io
import pickle
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

import torch
from torch import Tensor

from asyncrl.gorila.replay import Message

ANSWER_SECONDS = 20.0
"""How long a worker waits for a shard, and goes on trying to reach one."""


@dataclass(frozen=True)
class ReplayAddress:
    """Where the shards of a run's replay memory are."""

    shards: tuple[tuple[str, int], ...]  # host and port of each
    key: bytes  # without it, nobody is answered


@dataclass(frozen=True)
class Raised:
    """The answer to a message that could not be answered."""

    error: Exception


class ReplayServer:
    """Answers workers over TCP, each connection in a thread of its own.

    Args:
        answer: Gives the answer to a message.
        address: Host and port to listen at; with port 0, the system chooses one.
        key: What workers must know.

    Raises:
        OSError: The port is in use.
    """

    def __init__(self, answer: Callable[[Message], Any], address: tuple[str, int], key: bytes) -> None:
        self.answer, self.key, self.closing = answer, key, False
        self.socket = socket.create_server(address, backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.socket.getsockname()[1])

    def _accept(self) -> None:
        while not self.closing:
            try:
                accepted, _ = self.socket.accept()
            except OSError:  # too many open files, perhaps for a moment
                time.sleep(0.1)
                continue
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        connection = connection_of(accepted)
        with (
            suppress(EOFError, OSError, AuthenticationError),
            connection,
        ):  # a worker has gone, or it was another program
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            while True:
                message = pickle.loads(connection.recv_bytes())
                if self.closing:
                    return
                try:
                    answer = self.answer(message)
                except Exception as error:  # the worker raises it
                    answer = Raised(error)
                send(connection, answer)

    def close(self) -> None:
        """Answers nobody any more."""
        self.closing = True
        with suppress(OSError):
            socket.create_connection(self.socket.getsockname()).close()  # wakes the thread
        self.socket.close()


class ReplayClient:
    """A worker's connection to one shard; it is made anew when the shard was started again.

    Args:
        address: Host and port of the shard.
        key: What the shard asks for.
    """

    def __init__(self, address: tuple[str, int], key: bytes) -> None:
        self.address, self.key = address, key
        self.connection: Connection | None = None

    def ask(self, message: Message) -> Any:
        """Sends a message, again if no answer comes, and returns its answer.

        Raises:
            ConnectionError: The shard has not answered for `ANSWER_SECONDS`.
            Exception: What the shard raised.
        """
        began = time.monotonic()
        while True:
            try:
                if self.connection is None:
                    self.connection = self._connected()
                send(self.connection, message)
                answer = self._received(self.connection)
            except (OSError, EOFError, AuthenticationError) as error:
                self.close()
                if time.monotonic() - began > ANSWER_SECONDS:
                    host, port = self.address
                    raise ConnectionError(
                        f"the replay memory at {host}:{port} has not answered for {ANSWER_SECONDS:g} s"
                    ) from error
                time.sleep(0.1)
                continue
            if isinstance(answer, Raised):
                raise answer.error
            return answer

    def _connected(self) -> Connection:
        connection = connection_of(socket.create_connection(self.address, timeout=ANSWER_SECONDS))
        if not connection.poll(ANSWER_SECONDS):
            raise TimeoutError
        answer_challenge(connection, self.key)
        deliver_challenge(connection, self.key)
        return connection

    def _received(self, connection: Connection) -> Any:
        if not connection.poll(ANSWER_SECONDS):
            raise TimeoutError
        return pickle.loads(connection.recv_bytes())

    def close(self) -> None:
        """Ends the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def connection_of(connected: socket.socket) -> Connection:
    """A connection for messages, which sends small ones at once and notices machines that have vanished."""
    connected.settimeout(None)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Connection(connected.detach())


def send(connection: Connection, message: Any) -> None:
    """Sends a message; its tensors go as arrays, because torch would hand over shared memory of this machine."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(message)
    connection.send_bytes(buffer.getbuffer())


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.from_numpy, (value.detach().contiguous().numpy(),)
        return NotImplemented
