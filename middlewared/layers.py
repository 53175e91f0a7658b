"""What every HTTP request and answer passes through, outermost first (ASGI).

Safe headers, the client behind the proxy, Host and Origin, pages of other origins.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middlewared.access import Origin
from middlewared.basepath import with_base
from middlewared.hosts import (
    NOT_ALLOWED,
    client_allowed,
    host_allowed,
    origin_allowed,
)
from middlewared.proxies import UNIX_SOCKET_PROXIED, Proxies
from middlewared.settings import Settings

__all__ = ["SAFE_HEADERS", "surround"]

#: Only own scripts and styles, nothing inline, in no frame; a route may say otherwise.
#: Not all browsers take 'self' for the WebSocket as well.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; "
    "img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: Methods that change nothing (RFC 9110, section 9.2.1).
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Seconds that a browser may remember what pages of other origins may do.
_CORS_SECONDS = 600


class _SafeHeaders:
    """Adds `SAFE_HEADERS` where a route has none of its own, and HSTS under TLS."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.hsts = None
        if settings.tls_paths is not None and settings.hsts_max_age:
            self.hsts = f"max-age={settings.hsts_max_age}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tls = scope.get("scheme") == "https"

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
                if tls and self.hsts is not None:
                    headers["Strict-Transport-Security"] = self.hsts
            await send(message)

        await self.app(scope, receive, send_safely)


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
        if origin.address != peer.address:
            scope["client"] = (origin.address, 0)
        scheme = self.proxies.scheme(peer, headers.getlist)
        scope["scheme"] = scheme or scope["scheme"]
        scope["root_path"] = self.base
        scope["path"] = with_base(scope["path"], self.base)
        scope["raw_path"] = with_base(scope["raw_path"].decode(), self.base).encode()
        await self.app(scope, receive, send)


class _Doorkeeper:
    """Keeps out who may not come from there, wrong names, and other sites' pages.

    A Host of somebody else is DNS rebinding, an Origin of somebody else a forged
    request; reading is left to the browser, which shows no answer to such a page.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host, page = headers.get("host"), headers.get("origin")
        if not client_allowed(scope["state"]["origin"], self.settings):
            text = f"{NOT_ALLOWED}\n"
        elif not host_allowed(host, self.settings):
            text = f"Host {host!r} is not in allowed_hosts\n"
        elif scope["method"] not in _SAFE_METHODS and not origin_allowed(
            page, host, self.settings
        ):
            text = f"Origin {page!r} is not in allowed_origins\n"
        else:
            await self.app(scope, receive, send)
            return
        await PlainTextResponse(text, status_code=403)(scope, receive, send)


def surround(app: ASGIApp, settings: Settings, proxies: Proxies) -> ASGIApp:
    """Put all layers around an application, its answers to failures included."""
    if settings.allowed_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "If-Range", "Range"],
            # No cookie says who somebody is: browsers need not send any.
            allow_credentials=False,
            expose_headers=["Content-Disposition", "Content-Range", "ETag"],
            max_age=_CORS_SECONDS,
        )
    app = _Doorkeeper(app, settings)
    app = _Arrival(app, settings, proxies)
    return _SafeHeaders(app, settings)
