"""The pages and streams of `asyncrl watch --serve`, as a WSGI application."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, ServiceUnavailable
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from asyncrl import analysis
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.serve.player import SPEEDS, Player
from asyncrl.serve.training_view import TrainingView

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PAGES = Path(analysis.__file__).parent / "pages"
TRUSTED_HOSTS = ["127.0.0.1", "localhost"]
"""Names by which pages are asked for: those of a stranger's site whose name points here would be its own."""
FILES = {
    "style.css": "text/css",
    "serve.css": "text/css",
    "live.js": "text/javascript",
    "training.js": "text/javascript",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Application:
    """Answers requests.

    Args:
        folder: Of the run.
        player: Of its agent.
    """

    def __init__(self, folder: RunFolder, player: Player) -> None:
        self.folder, self.player = folder, player
        loader = jinja2.FileSystemLoader(PAGES)
        self.templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        self.training = TrainingView(folder, self.templates)
        self.answers: dict[str, Callable[[Request], Response]] = {
            "live": lambda _: self._page("live.html"),
            "training": lambda _: self._page("training.html"),
            "parts": lambda _: _json(self.training.parts()),
            "charts": lambda _: _json(self.training.drawings()),
            "stream": self._stream,
            "speed": self._set_speed,
            **{name: _file(name, kind) for name, kind in FILES.items()},
        }
        self.routes = Map(
            [
                Rule("/", endpoint="live", methods=["GET"]),
                Rule("/training", endpoint="training", methods=["GET"]),
                Rule("/training/parts", endpoint="parts", methods=["GET"]),
                Rule("/training/charts", endpoint="charts", methods=["GET"]),
                Rule("/stream", endpoint="stream", methods=["GET"]),
                Rule("/speed", endpoint="speed", methods=["POST"]),
                *(Rule(f"/{name}", endpoint=name, methods=["GET"]) for name in FILES),
            ]
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        request = Request(environ)
        request.trusted_hosts = TRUSTED_HOSTS
        try:
            _refuse_strangers(request)
            endpoint, _ = self.routes.bind_to_environ(environ).match()
            response = self.answers[endpoint](request)
        except HTTPException as error:
            response = Response(
                f"{error.code} {error.name}: {error.description}\n", error.code, _headers(error), mimetype="text/plain"
            )
        except UserError as error:  # settings that were damaged meanwhile
            response = Response(f"{error}\n", 500, mimetype="text/plain")
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _page(self, name: str) -> Response:
        settings = self.folder.read_settings()
        return Response(
            self.templates.get_template(name).render(
                run=self.folder.path.resolve().name,
                environment=setting(settings, "environment"),
                algorithm=setting(settings, "algorithm"),
                speeds=SPEEDS,
            ),
            mimetype="text/html",
        )

    def _stream(self, request: Request) -> Response:
        if self.player.is_full:
            raise ServiceUnavailable("too many pages are open: close some")
        return Response(self.player.broadcast.listen(), mimetype="text/event-stream")

    def _set_speed(self, request: Request) -> Response:
        speed = request.form.get("speed", type=float)
        if speed not in SPEEDS:
            raise BadRequest(f"the speed is one of {', '.join(f'{known:g}' for known in SPEEDS)}")
        self.player.set_speed(speed)
        return Response(status=204)


def _refuse_strangers(request: Request) -> None:
    """Lets no other site's page ask for anything, and nobody by another name than this machine's.

    Raises:
        SecurityError: The host's name is another.
        Forbidden: Another site asks.
    """
    host = request.host  # checked here
    refused = Forbidden("this is for the pages of this server only")
    if "Origin" in request.headers and request.headers["Origin"].partition("://")[2] != host:
        raise refused
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not _follows_link(request):
        raise refused


def _follows_link(request: Request) -> bool:
    """Whether a page is to be opened by itself, not within another one."""
    fetch = request.headers
    return fetch.get("Sec-Fetch-Mode") == "navigate" and fetch.get("Sec-Fetch-Dest", "document") == "document"


def _headers(error: HTTPException) -> list[tuple[str, str]]:
    """What belongs to an error beside its text, such as the place of a redirect."""
    return [(name, value) for name, value in error.get_response().headers if name in ("Location", "Allow")]


def _json(data: Mapping[str, str]) -> Response:
    return Response(json.dumps(data), mimetype="application/json")


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    data = (PAGES / name).read_bytes()
    return lambda _: Response(data, mimetype=kind)
