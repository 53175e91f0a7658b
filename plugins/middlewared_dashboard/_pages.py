"""Serves the static files, with headers that keep other pages and scripts out."""

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middlewared import Plugin

__all__ = ["plugin"]

STATIC = Path(__file__).parent / "static"

#: Only own scripts and styles, no frames: a job's text can never run as a script.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _Headers:
    """Adds `HEADERS` to every answer of an application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def front(request: Request) -> Response:
    """Send a browser to the dashboard."""
    return RedirectResponse(f"{request.scope['root_path']}/ui/", status_code=307)


plugin = Plugin("dashboard", requires=("jobs",))
plugin.routes += [
    Route("/", front),
    Mount("/ui", _Headers(StaticFiles(directory=STATIC, html=True))),
]
