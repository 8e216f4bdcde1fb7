"""The pages and streams of `asyncrl watch --serve`, as a Flask application."""

from __future__ import annotations

from pathlib import Path

import jinja2
from flask import Flask, Response, render_template, request
from werkzeug import Response as BaseResponse
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, ServiceUnavailable

from asyncrl import analysis
from asyncrl.config import setting
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder
from asyncrl.serve.player import SPEEDS, Player
from asyncrl.serve.training_view import TrainingView

PAGES = Path(analysis.__file__).parent / "pages"
TRUSTED_HOSTS = ["127.0.0.1", "localhost"]
"""The only host names that requests may use: guards against DNS rebinding."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(folder: RunFolder, player: Player) -> Flask:
    """Makes the application.

    Args:
        folder: The run folder that the training page shows.
        player: Plays the game that the live page shows.
    """
    app = Flask(__name__, template_folder=PAGES, static_folder=PAGES / "static")
    app.config["TRUSTED_HOSTS"] = TRUSTED_HOSTS
    app.jinja_options = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    view = TrainingView(folder)

    @app.get("/")
    def live() -> str:
        return _page("live.html", folder)

    @app.get("/training")
    def training() -> str:
        return _page("training.html", folder)

    @app.get("/training/parts")
    def parts() -> dict[str, str]:
        return view.parts()

    @app.get("/training/charts")
    def charts() -> dict[str, str]:
        return view.charts()

    @app.get("/stream")
    def stream() -> Response:
        if player.is_full:
            raise ServiceUnavailable("too many pages are open: close one")
        return Response(player.broadcast.listen(), mimetype="text/event-stream")

    @app.post("/speed")
    def set_speed() -> tuple[str, int]:
        speed = request.form.get("speed", type=float)
        if speed not in SPEEDS:
            raise BadRequest(f"the speed is one of {', '.join(f'{known:g}' for known in SPEEDS)}")
        player.set_speed(speed)
        return "", 204

    app.before_request(_refuse_foreign_requests)
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(UserError, _user_error)
    return app


def _page(template: str, folder: RunFolder) -> str:
    settings = folder.read_settings()
    return render_template(
        template,
        title=folder.path.resolve().name,
        environment=setting(settings, "environment"),
        algorithm=setting(settings, "algorithm"),
        speeds=SPEEDS,
    )


def _refuse_foreign_requests() -> None:
    """Refuses requests that other sites' pages make, and pages that other sites frame.

    Raises:
        SecurityError: The request names a host that is not trusted.
        Forbidden: The request comes from a page of another site.
    """
    refusal = Forbidden("only pages of this server may request this")
    host = request.host  # raises SecurityError
    if "Origin" in request.headers and request.headers["Origin"].partition("://")[2] != host:
        raise refusal
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not _follows_link():
        raise refusal


def _follows_link() -> bool:
    """Whether the browser opens a page of its own for the request, rather than a frame in another page."""
    fetch = request.headers
    return fetch.get("Sec-Fetch-Mode") == "navigate" and fetch.get("Sec-Fetch-Dest", "document") == "document"


def _add_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


def _http_error(error: HTTPException) -> BaseResponse:
    response = error.get_response()  # with headers such as Allow
    response.data = f"{error.code} {error.name}: {error.description}\n"
    response.mimetype = "text/plain"
    return response


def _user_error(error: UserError) -> Response:
    """The answer where the run's settings were damaged after the server had started."""
    return Response(f"{error}\n", 500, mimetype="text/plain")
