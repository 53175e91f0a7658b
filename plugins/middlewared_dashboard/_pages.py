"""Serves the static files."""

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


class _Fresh:
    """Has browsers ask each time whether a file has changed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_fresh(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Cache-Control"] = "no-cache"
            await send(message)

        await self.app(scope, receive, send_fresh)


async def front(request: Request) -> Response:
    """Send a browser to the dashboard."""
    return RedirectResponse(f"{request.scope['root_path']}/ui/", status_code=307)


plugin = Plugin("dashboard", requires=("jobs",))
plugin.routes += [
    Route("/", front),
    Mount("/ui", _Fresh(StaticFiles(directory=STATIC, html=True))),
]
