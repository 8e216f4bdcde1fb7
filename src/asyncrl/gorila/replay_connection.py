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
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import torch
from torch import Tensor

from asyncrl.gorila.replay import Learned, Message

CONNECT_SECONDS = 20.0
"""How long a worker tries to reach a shard that does not answer."""


@dataclass(frozen=True)
class ReplayAddress:
    """Where the shards of a run's replay memory are."""

    shards: tuple[tuple[str, int], ...]  # host and port of each
    key: bytes  # without it, nobody is answered


class ReplayServer:
    """Answers workers over TCP, each connection in a thread of its own.

    Args:
        answer: Gives the answer to a message.
        address: Host and port to listen at.
        key: What workers must know.
    """

    def __init__(self, answer: Callable[[Message], Any], address: tuple[str, int], key: bytes) -> None:
        self.answer, self.listener = answer, Listener(address, "AF_INET", backlog=64, authkey=key)
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.closing:
            with suppress(AuthenticationError, EOFError, OSError):  # not a worker of this run, or one that has gone
                connection = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with suppress(EOFError, OSError), connection:
            send_at_once(connection)
            while True:
                message = pickle.loads(connection.recv_bytes())
                answer = self.answer(message)
                if not isinstance(message, Learned):
                    send(connection, answer)

    def close(self) -> None:
        """Takes no further connections."""
        self.closing = True
        with suppress(OSError):
            socket.create_connection(self.listener.address).close()  # wakes the thread
        self.listener.close()


class ReplayClient:
    """A worker's connection to one shard; it is made anew when the shard was started again.

    A message is repeated when its answer did not come. So a rollout may be stored twice, which does no harm.

    Args:
        address: Host and port of the shard.
        key: What the shard asks for.
    """

    def __init__(self, address: tuple[str, int], key: bytes) -> None:
        self.address, self.key = address, key
        self.connection: Connection | None = None

    def ask(self, message: Message) -> Any:
        """Sends a message and returns its answer.

        Raises:
            ConnectionError: The shard has not answered for `CONNECT_SECONDS`.
        """
        failed_at: float | None = None
        while True:
            try:
                connection = self._connected()
                send(connection, message)
                return pickle.loads(connection.recv_bytes())
            except (OSError, EOFError) as error:
                self.close()
                failed_at = failed_at or time.monotonic()
                if time.monotonic() - failed_at > CONNECT_SECONDS:
                    host, port = self.address
                    raise ConnectionError(
                        f"the replay memory at {host}:{port} has not answered for {CONNECT_SECONDS:g} s"
                    ) from error
                time.sleep(0.1)

    def tell(self, message: Learned) -> None:
        """Sends a message that has no answer; it is lost if the shard has failed."""
        try:
            send(self._connected(), message)
        except (OSError, EOFError):
            self.close()

    def _connected(self) -> Connection:
        if self.connection is None:
            self.connection = Client(self.address, authkey=self.key)
            send_at_once(self.connection)
        return self.connection

    def close(self) -> None:
        """Ends the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


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


def send_at_once(connection: Connection) -> None:
    """Makes TCP send small messages without waiting for more."""
    with socket.socket(fileno=connection.fileno()) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.detach()
