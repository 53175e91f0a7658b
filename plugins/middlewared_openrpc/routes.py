"""The documents and the pages over HTTP."""

import errno
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middlewared import CallError, Credentials
from middlewared.context import Services
from middlewared_openrpc.declaration import plugin
from middlewared_openrpc.documents import Documents
from middlewared_openrpc.entrance import forget, log_in, reader_of, remember
from middlewared_openrpc.index import index
from middlewared_openrpc.layout import page
from middlewared_openrpc.login import login_form
from middlewared_openrpc.markup import Html, tag
from middlewared_openrpc.place import Place
from middlewared_openrpc.reference import event_page, method_page

__all__ = ["ROUTES"]

STATIC = Path(__file__).parent / "static"
PAGES = "/api/docs"

#: What one may see is for oneself. With a stricter referrer policy, browsers would not
#: say which site a form comes from.
HEADERS = {
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization, Cookie",
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


def _documents(request: Request) -> Documents:
    services: Services = request.state.services
    return services.get(Documents)


def _place(request: Request) -> Place:
    prefix = request.scope.get("root_path", "").partition(PAGES)[0]
    host = request.headers.get("Host", "localhost")
    return Place(host, request.url.scheme == "https", prefix.rstrip("/"))


def _json(document: bytes) -> Response:
    return Response(document, media_type="application/json", headers=HEADERS)


async def openrpc(request: Request) -> Response:
    """Send the OpenRPC document of who asks."""
    who = await reader_of(request)
    return _json(await _documents(request).openrpc(who, _place(request)))


async def asyncapi(request: Request) -> Response:
    """Send the AsyncAPI document of who asks."""
    who = await reader_of(request)
    return _json(await _documents(request).asyncapi(who, _place(request)))


# Pages


async def _page(
    request: Request,
    title: str,
    content: Iterable[Html],
    who: Credentials | None,
    *,
    root: str = "./",
    status: int = 200,
) -> Response:
    name = None if who is None else who.username
    text = await _documents(request).aside(
        lambda: page(title, content, root=root, who=name)
    )
    return HTMLResponse(text, status)


async def contents(request: Request) -> Response:
    """Show the index, or what of it a query finds."""
    who = await reader_of(request)
    visible = _documents(request).visible_to(who)
    query = request.query_params.get("q", "").strip()
    content = index(visible, query, known=who is not None)
    return await _page(request, "Reference", content, who)


async def method(request: Request) -> Response:
    """Show the page of one method."""
    who = await reader_of(request)
    name = request.path_params["name"]
    found = _documents(request).visible_to(who).methods.get(name)
    if found is None:
        return await _missing(request, name, "method", who)
    return await _page(request, name, method_page(found), who, root="../")


async def event(request: Request) -> Response:
    """Show the page of one collection."""
    who = await reader_of(request)
    name = request.path_params["name"]
    found = _documents(request).visible_to(who).events.get(name)
    if found is None:
        return await _missing(request, name, "event", who)
    return await _page(request, name, event_page(found), who, root="../")


async def _missing(
    request: Request, name: str, kind: str, who: Credentials | None
) -> Response:
    """Answer the same for what is not there and for what one may not see."""
    words = "There is no such entry" if who else "There is no such entry for everybody"
    content = [
        tag("h1", "Not found"),
        tag("p", f"{words}: {kind} ", tag("code", name), "."),
    ]
    return await _page(request, "Not found", content, who, root="../", status=404)


async def show_login(request: Request) -> Response:
    """Show the form."""
    return await _page(request, "Log in", login_form(""), None)


async def take_login(request: Request) -> Response:
    """Log in with the form, and go to the index."""
    try:
        who = await log_in(request)
    except CallError as exc:
        status = 429 if exc.errno == errno.EBUSY else 403
        return await _page(request, "Log in", login_form(exc.text), None, status=status)
    if who is None:
        wrong = "The name or the password is wrong."
        return await _page(request, "Log in", login_form(wrong), None, status=403)
    answer = RedirectResponse("./", status_code=303)
    remember(request, answer, who)
    return answer


async def logout(request: Request) -> Response:
    """Forget who it is, and go to the index."""
    answer = RedirectResponse("./", status_code=303)
    forget(request, answer)
    return answer


async def to_folder(request: Request) -> Response:
    """Lead to the address with a slash, since links are relative to it."""
    return RedirectResponse("docs/", status_code=307)


_PAGES = Router(
    [
        Route("/", contents),
        Route("/openrpc.json", openrpc),
        Route("/asyncapi.json", asyncapi),
        Route("/login", show_login, methods=["GET"]),
        Route("/login", take_login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/methods/{name}", method),
        Route("/events/{name}", event),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
)

ROUTES: list[BaseRoute] = [
    Route("/api/openrpc.json", openrpc),
    Route("/api/asyncapi.json", asyncapi),
    Route(PAGES, to_folder),
    Mount(PAGES, _Headers(_PAGES)),
]
plugin.routes += ROUTES
