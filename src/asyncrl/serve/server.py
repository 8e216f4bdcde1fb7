"""The server behind `asyncrl watch --serve`, which listens on the loopback address only."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable

from werkzeug.serving import WSGIRequestHandler, make_server

from asyncrl.errors import RunError, UserError
from asyncrl.run_folder import RunFolder
from asyncrl.serve.app import create_app
from asyncrl.serve.latest import LatestAgent
from asyncrl.serve.player import Player
from asyncrl.signals import collected_signals

ADDRESS = "127.0.0.1"
FIRST_PORT, LAST_PORT = 6010, 6029
"""Without --port, the first free port of these is taken."""


class QuietHandler(WSGIRequestHandler):
    """Logs errors, but not each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs nothing."""


def serve(
    folder: RunFolder,
    latest: LatestAgent,
    deterministic: bool,
    seed: int,
    port: int | None,
    announce: Callable[[str], None],
) -> int:
    """Serves the pages of a run until a signal asks for the end.

    Args:
        folder: The run folder.
        latest: The agent of the run.
        deterministic: Take the most probable action instead of drawing one.
        seed: Seed for the environment and the drawn actions.
        port: Port to listen on; None takes the first free one.
        announce: Is called with the address as soon as pages can be opened.

    Returns:
        128 + the number of the signal.

    Raises:
        UserError: The port is in use or may not be used.
        RunError: The server ended by itself.
    """
    player = Player(latest, deterministic, seed)
    with _listening(port) as listener, collected_signals() as received:
        app = create_app(folder, player)
        server = make_server(ADDRESS, 0, app, threaded=True, request_handler=QuietHandler, fd=listener.fileno())
        player.start()
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="asyncrl-server", daemon=True)
        thread.start()
        announce(f"http://{ADDRESS}:{server.port}/")
        while thread.is_alive() and not received:
            thread.join(0.1)
        has_ended = player.close()
        server.shutdown()
        server.server_close()
    if not received:
        raise RunError("the server of the pages broke down: start asyncrl watch --serve again")
    code = 128 + received[0]
    if not has_ended:  # the interpreter's end would abort a thread that is inside native code, and the process with it
        sys.stdout.flush()
        os._exit(code)
    return code


def _listening(port: int | None) -> socket.socket:
    ports = range(FIRST_PORT, LAST_PORT + 1) if port is None else [port]
    for number in ports:
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ADDRESS, number))
            listener.listen()
        except (OSError, OverflowError) as error:
            listener.close()
            if getattr(error, "errno", None) != errno.EADDRINUSE or number == ports[-1]:
                reason = getattr(error, "strerror", None) or str(error)
                raise UserError(f"cannot serve on port {number} ({reason}): choose another --port") from error
        else:
            return listener
    raise AssertionError("no port was tried")
