"""The HTTP side: health, versions, and the routes of the plugins."""

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middlewared.access import Origin
from middlewared.basepath import with_base
from middlewared.hosts import host_allowed
from middlewared.proxies import Proxies
from middlewared.registry import Registry
from middlewared.server import SOCKET_PATHS, UNIX_SOCKET_PROXIED
from middlewared.settings import Settings

__all__ = ["JsonResponse", "build_http"]

#: Versions of the reference protocol that clients may ask for by name.
API_VERSIONS = ["v26.0.0"]


class JsonResponse(Response):
    """A response whose body msgspec encodes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the body."""
        return msgspec.json.encode(content)


class _Arrival:
    """Finds out where requests come from, and puts the base path into place.

    From here on ``request.state.origin`` is the client, as are ``client`` and
    ``scheme`` of the scope; every path has ``base_path`` in front, whether or not a
    proxy cut it off.
    """

    def __init__(self, app: ASGIApp, settings: Settings, proxies: Proxies) -> None:
        self.app = app
        self.base = settings.base_path
        self.proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        peer: Origin = scope["state"]["origin"]
        if peer.address is None and self.proxies.came_through(headers.getlist):
            refusal = PlainTextResponse(UNIX_SOCKET_PROXIED, status_code=403)
            await refusal(scope, receive, send)
            return
        origin = self.proxies.origin(peer, headers.getlist)
        scope["state"]["origin"] = origin
        if origin is not peer:
            scope["client"] = (origin.address, 0)
            scope["scheme"] = "https" if origin.secure else "http"
        scope["root_path"] = self.base
        scope["path"] = with_base(scope["path"], self.base)
        scope["raw_path"] = scope["path"].encode()
        await self.app(scope, receive, send)


class _HostCheck:
    """Refuses requests whose Host is not ours (DNS rebinding)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host")
        if host_allowed(host, self.settings):
            await self.app(scope, receive, send)
        else:
            refusal = PlainTextResponse(
                f"Host {host!r} is not in allowed_hosts\n", status_code=403
            )
            await refusal(scope, receive, send)


class _InsistOnTls:
    """Has browsers use TLS for this name from now on, once they came with it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.value = f"max-age={settings.hsts_max_age}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tls = scope.get("scheme") == "https"

        async def insist(message: Message) -> None:
            if tls and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Strict-Transport-Security"] = self.value
            await send(message)

        await self.app(scope, receive, insist)


async def healthz(request: Request) -> Response:
    """Answer 200 once jobs can be accepted, 503 when the server stops."""
    if request.state.gate.stopping:
        return JsonResponse({"status": "stopping"}, status_code=503)
    return JsonResponse({"status": "ok"})


async def versions(request: Request) -> Response:
    """List the protocol versions that can be asked for by name."""
    return JsonResponse(API_VERSIONS)


async def upgrade_required(request: Request) -> Response:
    """Tell a plain request that a WebSocket lives here."""
    return PlainTextResponse(
        "Connect with a WebSocket\n",
        status_code=426,
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )


def build_http(registry: Registry, settings: Settings, proxies: Proxies) -> ASGIApp:
    """Compose the HTTP application from the kernel's routes and the plugins'."""
    routes = [
        Route("/healthz", healthz),
        Route("/api/versions", versions),
        *(Route(path, upgrade_required) for path in SOCKET_PATHS),
        *(route for plugin in registry.plugins for route in plugin.routes),
    ]
    middleware = [
        Middleware(_Arrival, settings=settings, proxies=proxies),
        Middleware(_HostCheck, settings=settings),
    ]
    if settings.tls_paths is not None and settings.hsts_max_age:
        middleware.insert(0, Middleware(_InsistOnTls, settings=settings))
    return Starlette(routes=routes, middleware=middleware)
