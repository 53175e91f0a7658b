"""The HTTP side: health, versions, and the routes of the plugins."""

import uuid
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from middlewared.errors import SettingsError
from middlewared.layers import surround
from middlewared.post import post
from middlewared.proxies import Proxies
from middlewared.registry import Registry
from middlewared.server import SOCKET_PATHS
from middlewared.settings import Settings
from middlewared.shutdown import Shutdown

__all__ = ["JsonResponse", "build_http"]

#: Versions of the reference protocol that clients may ask for by name.
API_VERSIONS = ["v26.0.0"]
#: Stands in for the machine's boot id in containers that hide it.
_PROCESS_ID = str(uuid.uuid4())


class JsonResponse(Response):
    """A response whose body msgspec encodes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the body."""
        return msgspec.json.encode(content)


async def healthz(request: Request) -> Response:
    """Answer 200 while jobs are accepted, 503 when the server drains or stops."""
    if request.state.gate.stopping:
        return JsonResponse({"status": "stopping"}, status_code=503)
    if request.state.services.get(Shutdown).draining:
        return JsonResponse({"status": "draining"}, status_code=503)
    return JsonResponse({"status": "ok"})


async def versions(request: Request) -> Response:
    """List the protocol versions that can be asked for by name."""
    return JsonResponse(API_VERSIONS)


def _boot_id() -> str:
    """Read what names the time since the machine was started (random(4))."""
    try:
        return (
            Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        )
    except OSError:
        return _PROCESS_ID


async def boot_id(request: Request) -> Response:
    """Name the time since the machine was started: another name, another start."""
    return JsonResponse(_boot_id())


async def upgrade_required(request: Request) -> Response:
    """Tell a plain request that a WebSocket lives here."""
    return PlainTextResponse(
        "Connect with a WebSocket, or POST a message\n",
        status_code=426,
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )


def build_http(registry: Registry, settings: Settings, proxies: Proxies) -> ASGIApp:
    """Compose the HTTP application from the kernel's routes and the plugins'.

    Raises:
        SettingsError: ``base_path`` is a path of one of them.
    """
    routes: list[BaseRoute] = [
        Route("/healthz", healthz),
        Route("/api/versions", versions),
        Route("/api/boot_id", boot_id),
        *(Route(path, upgrade_required) for path in SOCKET_PATHS),
        *(Route(path, post, methods=["POST"]) for path in SOCKET_PATHS),
        *(route for plugin in registry.plugins for route in plugin.routes),
    ]
    _check_base(routes, settings.base_path)
    return surround(Starlette(routes=routes), settings, proxies)


def _check_base(routes: list[BaseRoute], base: str) -> None:
    """Refuse a base path that is one of our own: which form a path has must be clear.

    Raises:
        SettingsError: it is; names both.
    """
    for route in routes:
        path: str = getattr(route, "path", "")
        if base and f"{path}/".startswith(f"{base}/"):
            raise SettingsError(
                f"base_path is {base!r}, but {path} is a path of the server itself; "
                "choose another"
            )
